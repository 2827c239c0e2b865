//! The tasks.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::Maintenance;
use super::lease::{Lease, NotDone};
use crate::issue::error::IssueError;
use crate::issue::trail::AuditError;
use crate::issue::uses::flush_uses;
use crate::store::{Commit, ManagedStore, StoreError, StoreErrorKind, Write};
use crate::sync::unpoisoned;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A task of [`Maintenance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// Stores what requests left in memory, in every process.
    Flush,
    /// Deletes old rows of the change log.
    ChangeLog,
    /// Anchors the audit trail.
    AuditAnchor,
    /// Deletes old audit events.
    AuditEvents,
    /// Deletes old addresses and user agents.
    Origins,
    /// Deletes old refusals.
    Refusals,
    /// Forgets batches of processes that ended.
    UseSources,
    /// Forgets what was made for idempotency keys.
    Idempotency,
    /// Deletes keys that expired long ago.
    ExpiredKeys,
    /// Deletes keys that were revoked long ago.
    RevokedKeys,
}

/// How a task ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskOutcome {
    /// It was done.
    Done,
    /// Another process does it, or it was done in this period.
    NotDue,
    /// Another process took its lease meanwhile, since this one did not answer for a minute: it was stopped.
    Lost,
    /// It failed, and was logged.
    Failed(AuditError),
}

/// What [`Maintenance::run_once`] did.
#[derive(Debug, Default)]
#[must_use]
#[non_exhaustive]
pub struct MaintenanceReport {
    tasks: Vec<(Task, TaskOutcome)>,
}

impl MaintenanceReport {
    /// Each task, and how it ended. A task without a retention is not among them.
    pub fn tasks(&self) -> impl Iterator<Item = (Task, &TaskOutcome)> {
        self.tasks.iter().map(|(task, outcome)| (*task, outcome))
    }

    /// The tasks that were done.
    pub fn done(&self) -> impl Iterator<Item = Task> {
        let done = |(task, outcome): (Task, &TaskOutcome)| matches!(outcome, TaskOutcome::Done).then_some(task);
        self.tasks().filter_map(done)
    }

    /// The tasks that failed, and why.
    pub fn failed(&self) -> impl Iterator<Item = (Task, &AuditError)> {
        self.tasks().filter_map(|(task, outcome)| match outcome {
            TaskOutcome::Failed(error) => Some((task, error)),
            _ => None,
        })
    }

    pub(super) fn add(&mut self, task: Task, outcome: TaskOutcome) {
        self.tasks.push((task, outcome));
    }
}

impl Task {
    pub(super) const ALL: [Self; 10] = [
        Self::Flush,
        Self::ChangeLog,
        Self::AuditAnchor,
        Self::AuditEvents,
        Self::Origins,
        Self::Refusals,
        Self::UseSources,
        Self::Idempotency,
        Self::ExpiredKeys,
        Self::RevokedKeys,
    ];

    /// Its name, in logs and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::ChangeLog => "change_log",
            Self::AuditAnchor => "audit_anchor",
            Self::AuditEvents => "audit_events",
            Self::Origins => "origins",
            Self::Refusals => "refusals",
            Self::UseSources => "use_sources",
            Self::Idempotency => "idempotency",
            Self::ExpiredKeys => "expired_keys",
            Self::RevokedKeys => "revoked_keys",
        }
    }

    fn period(self) -> Duration {
        match self {
            Self::Flush => MINUTE,
            Self::ChangeLog | Self::Idempotency => HOUR,
            Self::AuditAnchor => 10 * MINUTE,
            Self::AuditEvents | Self::Origins | Self::Refusals => DAY,
            Self::UseSources | Self::ExpiredKeys | Self::RevokedKeys => DAY,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<S: ManagedStore + Clone> Maintenance<S> {
    /// Does a task if it is due. `None` for one that is switched off.
    pub(super) async fn task(&self, task: Task) -> Option<TaskOutcome> {
        let is_kept = match task {
            Task::AuditEvents => self.settings.retention.audit_events.is_none(),
            Task::ExpiredKeys => self.settings.retention.expired_keys.is_none(),
            Task::RevokedKeys => self.settings.retention.revoked_keys.is_none(),
            _ => false,
        };
        if is_kept {
            return None;
        }
        let done = match task {
            // What waits is this process's own.
            Task::Flush => self.work(task).await.map_err(NotDone::Failed),
            _ => Lease::work(&self.store, &self.clock, task.as_str(), task.period(), self.work(task)).await,
        };
        Some(match done {
            Ok(()) => TaskOutcome::Done,
            Err(NotDone::Elsewhere) => TaskOutcome::NotDue,
            Err(NotDone::Lost) => {
                tracing::warn!(
                    task = task.as_str(),
                    "the lease of a task was lost; another process does it"
                );
                TaskOutcome::Lost
            }
            Err(NotDone::Failed(error)) => {
                tracing::warn!(
                    task = task.as_str(),
                    %error,
                    source = error.source().map(tracing::field::display),
                    "a task of maintenance failed; trying again in a minute"
                );
                TaskOutcome::Failed(error)
            }
        })
    }

    async fn work(&self, task: Task) -> Result<(), AuditError> {
        let (now, kept) = (self.clock.wall(), &self.settings.retention);
        match task {
            Task::Flush => {
                let uses = flush_uses(&self.store).await;
                self.audit.flush().await?;
                uses?;
            }
            Task::ChangeLog => {
                let older_than = kept.change_log;
                self.commit(Write::PurgeChanges { older_than }).await?;
            }
            Task::AuditAnchor => match &self.settings.anchor_file {
                Some(path) => drop(self.audit.anchor_file(path).await?),
                None => {
                    let mut anchors = unpoisoned(self.anchors.lock()).clone();
                    let anchored = self.audit.anchor(&mut anchors).await;
                    *unpoisoned(self.anchors.lock()) = anchors;
                    anchored?;
                }
            },
            Task::AuditEvents => {
                if let Some(kept) = kept.audit_events {
                    self.audit.prune(now.before(kept)).await?;
                }
            }
            Task::Origins => self.audit.prune_origins(now.before(kept.origins)).await?,
            Task::Refusals => self.audit.prune_refusals(now.before(kept.refusals)).await?,
            Task::UseSources => {
                let before = now.before(kept.use_sources);
                self.commit(Write::PruneUseSources { before }).await?;
            }
            Task::Idempotency => {
                self.commit(Write::PruneIdempotency { before: now }).await?;
            }
            Task::ExpiredKeys => {
                if let Some(kept) = kept.expired_keys {
                    Box::pin(self.issuer.delete_expired(kept)).await.map_err(failed)?;
                }
            }
            Task::RevokedKeys => {
                if let Some(kept) = kept.revoked_keys {
                    Box::pin(self.issuer.delete_revoked(kept)).await.map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    async fn commit(&self, write: Write) -> Result<(), AuditError> {
        self.store.commit(Commit::new().write(write)).await?;
        Ok(())
    }
}

fn failed(error: IssueError) -> AuditError {
    StoreError::with_source(StoreErrorKind::Unavailable, error).into()
}
