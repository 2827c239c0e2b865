//! Organizations: created, changed, deactivated, deleted, and how many keys they may have.

mod check;
mod create;
mod delete;
mod fields;
mod policy;
mod reading;
mod request;
mod update;

pub use self::delete::OrganizationDeletion;
pub use self::policy::PolicyEffect;
pub use self::request::OrganizationRequest;
