//! Issuing and changing keys and organizations. Secrets are generated here and nowhere else.

mod bounds;
mod change;
mod error;
mod issued;
mod issuer;
mod organization;
mod realm;
mod request;
mod rotate;
mod status;

pub use self::error::{IssueError, IssueErrorKind};
pub use self::issued::IssuedKey;
pub use self::issuer::{Issuer, NoActor};
pub use self::request::IssueRequest;
