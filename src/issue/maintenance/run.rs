//! Does what is due.

use std::time::Duration;

use super::Maintenance;
use super::tasks::{MaintenanceReport, Task};
use crate::store::ManagedStore;

/// How often it is looked which tasks are due.
const TICK: Duration = Duration::from_secs(60);

impl<S: ManagedStore + Clone> Maintenance<S> {
    /// Does what is due, each minute, until the future is dropped: spawn it. It may be dropped at any time.
    pub async fn run(&self) {
        loop {
            drop(self.run_once().await);
            tokio::time::sleep(TICK).await;
        }
    }

    /// Does what is due now. A task that fails is logged and tried again in a minute; the others are done all the same.
    pub async fn run_once(&self) -> MaintenanceReport {
        let mut report = MaintenanceReport::default();
        for task in Task::ALL {
            if let Some(outcome) = self.task(task).await {
                report.add(task, outcome);
            }
        }
        report
    }
}
