//! Lists in pages.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{named, without_value};
use super::problem::Problem;
use super::state::ManageState;
use crate::store::query::{Cursor, List, Paged};

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// For the next page, in `after`. Null at the end. A page may be short before it.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// The page of these rows, each as it is shown.
    pub(super) fn new<R>(paged: Paged<R>, show: impl FnMut(R) -> T) -> Json<Self> {
        Json(Self {
            items: paged.items.into_iter().map(show).collect(),
            next: paged.next.map(|cursor| cursor.to_string()),
        })
    }
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
        let limit = bounded("limit", self.limit.unwrap_or(USUAL), MOST)?;
        let list = list.page(limit);
        match &self.after {
            None => Ok(list),
            Some(text) => Ok(list.after(cursor(text)?)),
        }
    }
}

/// # Errors
/// When the number is not between 1 and the most.
pub(super) fn bounded(name: &str, number: u16, most: u16) -> Result<u16, Problem> {
    match (1..=most).contains(&number) {
        true => Ok(number),
        false => {
            let sentence = format!("{name} must be between 1 and {most}, got {number}");
            Err(Problem::invalid(name, sentence))
        }
    }
}

/// # Errors
/// When the text is no cursor.
pub(super) fn cursor(text: &str) -> Result<Cursor, Problem> {
    let cursor = text.parse();
    cursor.map_err(|_| Problem::invalid("after", "after is no cursor of this list"))
}

/// The query of a URI. Unknown and repeated parameters are refused by name, after it is known who asks.
pub(super) struct Params<T>(Result<T, Problem>);

impl<T> Params<T> {
    pub(super) fn get(self) -> Result<T, Problem> {
        self.0
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<ManageState> for Params<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Infallible> {
        let query = Query::from_request_parts(parts, state).await;
        Ok(Self(query.map(|Query(params)| params).map_err(|rejection| {
            let text = rejection.body_text();
            malformed(
                text.strip_prefix("Failed to deserialize query string: ")
                    .unwrap_or(&text),
            )
        })))
    }
}

/// What is wrong with a query, without the values that were found: one may be a key in the wrong place.
fn malformed(text: &str) -> Problem {
    let (name, message) = match text.split_once(": ") {
        Some((name, message)) if !name.contains(['`', ' ']) => (Some(name), message),
        _ => (named(text), text),
    };
    let sentence = match message {
        // As the standard library says it of numbers.
        "number too large to fit in target type"
        | "number too small to fit in target type"
        | "invalid digit found in string"
        | "cannot parse integer from empty string" => "must be a whole number, and not too large".to_owned(),
        message => without_value(message),
    };
    match name {
        Some(name) if sentence.contains(&format!("`{name}`")) => Problem::malformed_query(Some(name), sentence),
        Some(name) => Problem::malformed_query(Some(name), format!("{name}: {sentence}")),
        None => Problem::malformed_query(None, sentence),
    }
}

const USUAL: u16 = 50;
const MOST: u16 = 1000;
