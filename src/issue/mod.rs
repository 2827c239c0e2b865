//! Floor 3: the life of a key. The only place secrets are born.

mod bounds;
mod error;
mod issuer;
mod request;
mod rotate;

pub use self::error::{IssueError, IssueErrorKind};
pub use self::issuer::{IssuedKey, Issuer};
pub use self::request::IssueRequest;
