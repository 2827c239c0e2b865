//! Audit events: who did what to which key, and when. Data only; stores keep them.

mod action;
mod canonical;
mod chain;
mod event;

pub use self::action::AuditAction;
pub use self::chain::{AuditEntry, AuditHead};
pub use self::event::{AuditEvent, CommitId};
