//! Streaming replication.

use super::processes::{as_owner, wait_until};
use super::{Server, program, run};

impl Server {
    /// A standby that follows this server.
    pub(crate) fn standby(&self) -> Self {
        Self::start_on(self.start.clone(), |data| {
            let mut backup = as_owner(&[], &program("pg_basebackup"));
            backup
                .args([
                    "--write-recovery-conf",
                    "--checkpoint=fast",
                    "--no-sync",
                    "--no-password",
                ])
                .args(["--dbname", &self.url(), "--pgdata"])
                .arg(data);
            run(backup, "").unwrap_or_else(|error| panic!("pg_basebackup: {error}"));
        })
    }

    /// Of a standby: what it receives is not seen until [`Server::resume_replay`].
    pub(crate) fn pause_replay(&self) {
        self.psql("SELECT pg_wal_replay_pause()");
        wait_until("replay has paused", || {
            self.psql("SELECT pg_get_wal_replay_pause_state()") == "paused"
        });
    }

    pub(crate) fn resume_replay(&self) {
        self.psql("SELECT pg_wal_replay_resume()");
    }

    /// Of a standby: it gets nothing more from its primary. One that only stands still would find what was sent meanwhile in its socket.
    pub(crate) fn stop_receiving(&self) {
        self.psql("ALTER SYSTEM SET primary_conninfo = ''");
        self.psql("SELECT pg_reload_conf()");
        wait_until("the standby receives nothing", || {
            self.psql("SELECT count(*) FROM pg_stat_wal_receiver") == "0"
        });
    }

    /// Of a standby: waits until it shows what was committed on `primary`.
    pub(crate) fn catch_up(&self, primary: &Self) {
        let written = primary.psql("SELECT pg_current_wal_flush_lsn()");
        let is_replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        wait_until("the standby has caught up", || self.psql(&is_replayed) == "t");
    }

    /// Of a standby: it is a primary then.
    pub(crate) fn promote(&self) {
        assert_eq!(self.psql("SELECT pg_promote()"), "t");
    }
}
