//! How a request ended, as its protocol and the meter say it.

use std::fmt;

/// The status that a request was answered with.
///
/// ```
/// use tower_api_key::usage::UsageStatus;
///
/// assert_eq!(UsageStatus::http(404).to_string(), "404");
/// assert_eq!(UsageStatus::grpc(14).to_string(), "grpc 14");
/// assert_eq!(UsageStatus::grpc(14).as_grpc(), Some(14));
/// assert!(UsageStatus::http(503).is_error() && !UsageStatus::grpc(0).is_error());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageStatus(u16);

/// Numbers of gRPC codes begin here: above every status of HTTP.
const GRPC: u16 = 1000;

impl UsageStatus {
    /// Of what has no status, such as a job.
    pub const NONE: Self = Self(0);

    /// A status of HTTP. Above 999 there is none: such a number is 999.
    pub const fn http(status: u16) -> Self {
        match status {
            0..GRPC => Self(status),
            _ => Self(GRPC - 1),
        }
    }

    /// A code of gRPC, as `grpc-status` has it.
    pub const fn grpc(code: u8) -> Self {
        Self(GRPC + code as u16)
    }

    /// The status of HTTP, if it is one.
    pub const fn as_http(self) -> Option<u16> {
        match self.0 {
            0 | GRPC.. => None,
            status => Some(status),
        }
    }

    /// The code of gRPC, if it is one.
    pub const fn as_grpc(self) -> Option<u8> {
        match self.0.checked_sub(GRPC) {
            Some(code) => Some(code as u8),
            None => None,
        }
    }

    /// Whether it says that the request failed: from 400 on, or a code of gRPC other than 0.
    pub const fn is_error(self) -> bool {
        self.0 >= 400 && self.0 != GRPC
    }

    /// The number that stores keep: 0 for none, HTTP as it is, gRPC from 1000 on.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The status with this number, if there is one.
    pub const fn of_number(number: u16) -> Option<Self> {
        match number {
            0..=1255 => Some(Self(number)),
            _ => None,
        }
    }
}

impl fmt::Display for UsageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_http(), self.as_grpc()) {
            (Some(status), _) => write!(f, "{status}"),
            (None, Some(code)) => write!(f, "grpc {code}"),
            (None, None) => f.write_str("none"),
        }
    }
}

/// Why a request counts as an error. A closed list: texts of errors hold what clients sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The status says that the client is wrong: 400 to 499, and the codes of gRPC for it.
    Client,
    /// The status says that the service failed.
    Server,
    /// The key lacks a scope of the route.
    Refused,
    /// The client went away before the end.
    Cancelled,
    /// The body of the response failed.
    Body,
    /// The service returned an error in place of a response.
    Service,
    /// The handler panicked.
    Panicked,
}

impl ErrorClass {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Client,
        Self::Server,
        Self::Refused,
        Self::Cancelled,
        Self::Body,
        Self::Service,
        Self::Panicked,
    ];

    /// What a status says, if it is an error.
    pub const fn of(status: UsageStatus) -> Option<Self> {
        if !status.is_error() {
            return None;
        }
        match (status.as_http(), status.as_grpc()) {
            (Some(400..500), _) => Some(Self::Client),
            // Cancelled, invalid argument, not found, already exists, permission denied, failed precondition, out of range,
            // unauthenticated.
            (_, Some(1 | 3 | 5 | 6 | 7 | 9 | 11 | 16)) => Some(Self::Client),
            _ => Some(Self::Server),
        }
    }

    /// Its name: `client`, `server`, `refused`, `cancelled`, `body`, `service` or `panicked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Body => "body",
            Self::Service => "service",
            Self::Panicked => "panicked",
        }
    }

    /// The class with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_again() {
        for number in 0..=u16::MAX {
            match UsageStatus::of_number(number) {
                Some(status) => assert_eq!(status.number(), number),
                None => assert!(number > 1255, "{number}"),
            }
        }
        for code in 0..=u8::MAX {
            let status = UsageStatus::grpc(code);
            assert_eq!(UsageStatus::of_number(status.number()), Some(status));
            assert_eq!((status.as_grpc(), status.as_http()), (Some(code), None));
        }
        assert_eq!(UsageStatus::http(u16::MAX).as_http(), Some(999));
        assert_eq!(UsageStatus::NONE.as_http(), None);
    }

    #[test]
    fn each_error_has_a_class_and_nothing_else_has() {
        for number in 0..=1255 {
            let status = UsageStatus::of_number(number).unwrap();
            assert_eq!(ErrorClass::of(status).is_some(), status.is_error(), "{status}");
        }
        assert_eq!(ErrorClass::of(UsageStatus::http(499)), Some(ErrorClass::Client));
        assert_eq!(ErrorClass::of(UsageStatus::grpc(13)), Some(ErrorClass::Server));
        for class in ErrorClass::ALL {
            assert_eq!(ErrorClass::of_name(class.as_str()), Some(class));
        }
    }
}
