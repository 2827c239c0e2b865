//! Ids and names in paths.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::problem::Problem;
use super::state::ManageState;
use crate::key::{KeyId, OrganizationId, PlanId, Scope, UserId};

/// What a path says which row is meant. Read before it is known whether the caller may ask, and looked at afterwards.
pub(super) struct InPath<T>(Option<T>);

/// What is found by something in a path.
pub(super) trait Findable: FromStr {
    /// What there is none of, if it is not there.
    const WHAT: &str;
}

/// The name of a role. Whatever it is: one that no role can have is of no role.
pub(super) struct RoleName(pub(super) String);

impl<T: Findable> InPath<T> {
    /// # Errors
    /// 404 for what cannot be one: it is of no row.
    pub(super) fn get(self) -> Result<T, Problem> {
        self.0.ok_or_else(|| Problem::missing(T::WHAT))
    }
}

impl<T: Findable + Send> FromRequestParts<ManageState> for InPath<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Infallible> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.ok().and_then(|Path(text)| text.parse().ok())))
    }
}

macro_rules! findable {
    ($($name:ident $what:literal)*) => {$(
        impl Findable for $name {
            const WHAT: &str = $what;
        }
    )*};
}

findable! {
    KeyId "key"
    OrganizationId "organization"
    PlanId "plan"
    UserId "user"
    RoleName "role"
    Scope "scope"
}

impl FromStr for RoleName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// A text as it stands in a path (RFC 3986, section 2): each byte but unreserved ones is percent-encoded.
pub(super) fn in_path(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => encoded.push(char::from(byte)),
            // A dot too: a segment of one or two of them would be taken for another folder.
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
