//! Lists in pages.

use axum::extract::{FromRequestParts, Query};
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::manage::ManageState;
use super::problem::Problem;
use crate::store::query::{Cursor, List};

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// For the next page, in `after`. Null at the end. A page may be short before it.
    pub(super) next: Option<String>,
}

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many rows at most. 50 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

impl PageQuery {
    pub(super) fn new(limit: Option<u16>, after: Option<String>) -> Self {
        Self { limit, after }
    }

    /// The list, from this page on.
    ///
    /// # Errors
    /// When a part is not valid.
    pub(super) fn of<F>(&self, list: List<F>) -> Result<List<F>, Problem> {
        let limit = self.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::invalid(
                "limit",
                format!("limit must be between 1 and {MOST}, got {limit}"),
            ));
        }
        let list = list.page(limit);
        match &self.after {
            None => Ok(list),
            Some(cursor) => {
                let cursor: Cursor = cursor
                    .parse()
                    .map_err(|_| Problem::invalid("after", "after is no cursor of this list"))?;
                Ok(list.after(cursor))
            }
        }
    }
}

/// The query of a URI. Unknown and repeated parameters are refused by name.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<ManageState> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => {
                let text = rejection.body_text();
                let sentence = text
                    .strip_prefix("Failed to deserialize query string: ")
                    .unwrap_or(&text);
                Err(Problem::new(StatusCode::BAD_REQUEST, "malformed-query", sentence))
            }
        }
    }
}

const USUAL: u16 = 50;
const MOST: u16 = 1000;
