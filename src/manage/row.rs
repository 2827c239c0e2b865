//! Answers with one row.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use serde::Serialize;

use super::precondition::etag;

/// An answer with a row, and its revision as the ETag.
pub(super) struct Row<T>(pub(super) T);

/// A row that was made, with its path relative to the list's.
pub(super) struct Made<T>(pub(super) String, pub(super) T);

/// A row that has a revision.
pub(super) trait Revised {
    fn revision(&self) -> u64;
}

impl<T: Serialize + Revised> IntoResponse for Row<T> {
    fn into_response(self) -> Response {
        (etag(self.0.revision()), Json(self.0)).into_response()
    }
}

impl<T: Serialize + Revised> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        let location = [(LOCATION, self.0)];
        (StatusCode::CREATED, location, Row(self.1)).into_response()
    }
}

macro_rules! revised {
    ($($name:path)*) => {$(
        impl $crate::manage::row::Revised for $name {
            fn revision(&self) -> u64 {
                self.revision
            }
        }
    )*};
}
pub(super) use revised;
