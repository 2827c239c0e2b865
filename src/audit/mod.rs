//! Audit events: who did what to which key, when, and from where.
//!
//! Data, and what verifies it; stores keep it. For operators, the page `docs/audit.md` of the repository:
//!
#![doc = include_str!("../pages.md")]
#![doc = include_str!("../../docs/audit.md")]

mod action;
mod attempts;
mod caller;
mod canonical;
mod chain;
mod check;
mod entry;
mod event;
mod forget;
mod key;
mod line;
mod netstring;
mod personal;
mod refusal;
mod row;

pub use self::action::AuditAction;
pub(crate) use self::attempts::{AttemptLog, Attempts, KeyUse, Waiting};
pub use self::caller::Caller;
pub use self::chain::{AuditChain, AuditHead};
pub(crate) use self::check::ChainCheck;
pub use self::check::{ChainProblem, ProblemKind};
pub use self::entry::AuditEntry;
pub use self::event::{AuditEvent, CommitId};
pub use self::forget::Forget;
pub use self::key::AuditKey;
pub(crate) use self::key::AuditKeys;
pub use self::line::emit;
pub use self::personal::{PersonalFields, PersonalPart, PersonalRow};
pub use self::refusal::{Audit, RefusalCount, RefusalSample};
pub use self::row::AuditRow;
