//! Which organization a request is about.

use std::str::FromStr;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};

use super::acting::Acting;
use super::problem::Problem;
use crate::key::OrganizationId;

/// Rows of one organization, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Of(OrganizationId),
    /// `all`, for operators.
    All,
}

impl Whose {
    /// The organization that is named, or else the caller's. The host names one.
    ///
    /// # Errors
    /// 404 when there is no such organization for the caller, 403 when all are asked for and the caller is no operator.
    pub(super) async fn of(acting: &Acting, named: Option<Self>) -> Result<Self, Problem> {
        let own = acting.organization();
        match (named, own) {
            (Some(Self::All), _) => acting.require_operator().map(|()| Self::All),
            (Some(Self::Of(id)), _) => one(acting, Some(id), PARAMETER).await.map(Self::Of),
            (None, Some(own)) => Ok(Self::Of(own)),
            (None, None) => Ok(Self::All),
        }
    }

    /// `None` for all.
    pub(super) fn id(self) -> Option<OrganizationId> {
        match self {
            Self::Of(id) => Some(id),
            Self::All => None,
        }
    }
}

/// The organization that is named, or else the caller's.
///
/// # Errors
/// 404 when there is no such organization for the caller, 422 when the host names none, in this parameter or member.
pub(super) async fn one(
    acting: &Acting,
    named: Option<OrganizationId>,
    member: &str,
) -> Result<OrganizationId, Problem> {
    let own = acting.organization();
    match (named, own) {
        (Some(id), own) if own == Some(id) => Ok(id),
        (Some(id), _) => match acting.issuer.organization(id).await? {
            Some(_) => Ok(id),
            None => Err(Problem::missing("organization")),
        },
        (None, Some(own)) => Ok(own),
        (None, None) => Err(Problem::invalid(member, format!("{member} is missing"))),
    }
}

impl FromStr for Whose {
    type Err = crate::error::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            id => id.parse().map(Self::Of),
        }
    }
}

/// The text is not shown: it may be a key in the wrong place.
impl<'de> Deserialize<'de> for Whose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| D::Error::invalid_value(Unexpected::Other("text"), &"the UUID of an organization, or `all`"))
    }
}

/// What it is called in queries.
pub(super) const PARAMETER: &str = "organization";
