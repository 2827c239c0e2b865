//! The tasks of maintenance.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tower_api_key::store::DynStore;
use tower_api_key::{Maintenance, TaskOutcome};

use crate::failure::{Failure, chain};
use crate::global::Global;
use crate::log::{self, LogFormat};
use crate::output::{cell, table};
use crate::signals::Signals;
use crate::text::duration;
use crate::work::{database, output};

/// Does the tasks of maintenance, each in its period, until it is stopped. Several processes share them.
#[derive(Args, Debug)]
pub(crate) struct Maintain {
    /// Does what is due now, and ends
    #[arg(long)]
    once: bool,
    /// Anchors the audit trail in this file
    #[arg(long, value_name = "FILE")]
    anchor_file: Option<PathBuf>,
    /// Deletes audit events that are older; without it they are kept
    #[arg(long, value_name = "TIME", value_parser = duration)]
    audit_events: Option<Duration>,
    /// Deletes keys that were revoked so long ago; without it they are kept
    #[arg(long, value_name = "TIME", value_parser = duration)]
    revoked_keys: Option<Duration>,
    /// Deletes keys that expired so long ago
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90d")]
    expired_keys: Duration,
}

impl Maintain {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        let keys = database(global, "maintain")?.keys(global).await?;
        let maintenance = self.tasks(keys.maintenance())?;
        if !self.once {
            log::to_stderr(LogFormat::Text, tracing::Level::INFO, None);
            let signals = Signals::new()?;
            tokio::select! {
                () = maintenance.run() => {}
                () = signals.one() => {}
            }
            return Ok(keys.flush().await?);
        }
        let report = maintenance.run_once().await;
        let tasks: Vec<Value> = report
            .tasks()
            .map(|(task, outcome)| {
                let (outcome, error) = match outcome {
                    TaskOutcome::Done => ("done", None),
                    TaskOutcome::NotDue => ("not due", None),
                    TaskOutcome::Lost => ("taken by another process", None),
                    TaskOutcome::Failed(error) => ("failed", Some(chain(error))),
                    _ => ("", None),
                };
                json!({"task": task.as_str(), "outcome": outcome, "error": error})
            })
            .collect();
        output(global).show(&json!({"tasks": tasks}), |_| {
            let rows = tasks
                .iter()
                .map(|task| vec![cell(&task["task"]), cell(&task["outcome"]), cell(&task["error"])]);
            table(&["task", "outcome", "error"], rows)
        })?;
        match report.failed().count() {
            0 => Ok(()),
            failed => Err(Failure::Refused(format!("{failed} tasks failed"))),
        }
    }

    fn tasks(&self, tasks: Maintenance<DynStore>) -> Result<Maintenance<DynStore>, Failure> {
        let mut tasks = tasks.expired_keys(self.expired_keys)?;
        if let Some(path) = &self.anchor_file {
            tasks = tasks.anchor_file(path);
        }
        if let Some(kept) = self.audit_events {
            tasks = tasks.audit_events(kept)?;
        }
        if let Some(kept) = self.revoked_keys {
            tasks = tasks.revoked_keys(kept)?;
        }
        Ok(tasks)
    }
}
