//! Issuing and changing keys and organizations. Secrets are generated here and nowhere else.

mod authority;
mod bounds;
mod bulk;
mod change;
mod difference;
mod ensure;
mod error;
mod forgetting;
mod hygiene;
mod issued;
mod issuer;
mod maintenance;
mod narrower;
mod organization;
mod reading;
mod realm;
mod request;
mod rotate;
mod status;
mod trail;
mod users;
mod uses;

pub use self::bulk::{BulkChange, Descendants, KeySelection, SelectedKeys};
pub use self::ensure::Ensured;
pub use self::error::{IssueError, IssueErrorKind};
pub use self::hygiene::{Finding, Hygiene, HygieneReport, KeyFindings};
pub use self::issued::IssuedKey;
pub use self::issuer::{Issuer, NoActor};
pub use self::maintenance::{Maintenance, MaintenanceReport, Task, TaskOutcome};
pub use self::organization::OrganizationRequest;
pub use self::request::IssueRequest;
pub use self::trail::{AuditAnchors, AuditError, AuditErrorKind, AuditTrail, ExportFormat, VerifiedTrail};
pub use self::users::UserRequest;
pub(crate) use self::uses::flush_uses;
