//! Members that a service adds to problem details.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use smallvec::SmallVec;

use super::answer::Answer;
use super::json::string;
use crate::check::{Rejection, RejectionClass};

/// What a client may know of a [`Rejection`]. Given to the function of
/// [`ProblemJson::with_members`](crate::ProblemJson::with_members).
#[derive(Clone, Copy, Debug)]
pub struct PublicRejection<'r> {
    class: RejectionClass,
    status: StatusCode,
    request_id: Option<&'r str>,
}

impl PublicRejection<'_> {
    /// The class, which is the same for all invalid keys.
    pub fn class(&self) -> RejectionClass {
        self.class
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The request's `x-request-id`, if it has one of 1 to 128 visible ASCII characters. A layer that sets it for requests
    /// without one must stand outside.
    ///
    /// # Security
    /// Unless a layer or proxy outside replaces it, the client chose it.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id
    }
}

/// The members that are added to one body, see [`ProblemJson::with_members`](crate::ProblemJson::with_members).
#[derive(Debug)]
pub struct Members<'j> {
    json: &'j mut String,
    added: SmallVec<[Box<str>; 4]>,
}

impl Members<'_> {
    /// Adds a string.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.add(name, |json| string(json, &[value]))
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.add(name, |json| {
            // Writing into a String cannot fail.
            let _ = write!(json, "{value}");
        })
    }

    /// Adds `true` or `false`.
    pub fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.add(name, |json| json.push_str(if value { "true" } else { "false" }))
    }

    /// A name that occurs twice would mean different things to different parsers (RFC 8259, section 4).
    fn add(&mut self, name: &str, write: impl FnOnce(&mut String)) -> &mut Self {
        if !OWN.contains(&name) && !self.added.iter().any(|added| **added == *name) {
            self.json.push(',');
            string(self.json, &[name]);
            self.json.push(':');
            write(self.json);
            self.added.push(name.into());
        }
        self
    }
}

/// A service's function that adds members.
#[derive(Clone)]
pub(super) struct AddMembers(Arc<Add>);

type Add = dyn Fn(&PublicRejection<'_>, &mut Members<'_>) + Send + Sync;

impl AddMembers {
    pub(super) fn new(add: impl Fn(&PublicRejection<'_>, &mut Members<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(add))
    }

    /// Appends the members to a JSON object that is still open, and has members.
    pub(super) fn write(&self, rejection: &Rejection, request: &Parts, json: &mut String) {
        let public = PublicRejection {
            class: rejection.kind().class(),
            status: Answer::to(rejection).status,
            request_id: request_id(request),
        };
        let added = SmallVec::new();
        (self.0)(&public, &mut Members { json, added });
    }
}

impl fmt::Debug for AddMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddMembers")
    }
}

fn request_id(request: &Parts) -> Option<&str> {
    let value = request.headers.get("x-request-id")?.to_str().ok()?;
    let fits = (1..=LONGEST_REQUEST_ID).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(value)
}

const LONGEST_REQUEST_ID: usize = 128;

/// The members that problem details of this crate have.
const OWN: [&str; 6] = ["type", "title", "status", "detail", "scope", "violated-policies"];
