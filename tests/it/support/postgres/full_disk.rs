//! A server that gets the error of a full disk.

use super::processes::as_owner;
use super::server::{Start, copy_initialised};
use super::{Server, program, run};

impl Server {
    /// A table cannot grow beyond 1 MiB: it gets the error of a full disk, `53100`. Rows of a transaction that is rolled back
    /// take room until `VACUUM`, so that a test can fill any table without a change of what is in it.
    pub(crate) fn start_on_full_disk() -> Self {
        let mut start = Start::with(&["-c", "autovacuum=off", "-c", "min_wal_size=2MB"]);
        // A part of a page fits: of a whole one that is not written, the error would be another.
        start.file_limit = Some(MEBIBYTE + 100);
        Self::start_on(start, |data| {
            copy_initialised(data);
            // Files of the write-ahead log have 16 MiB otherwise.
            let mut reset = as_owner(&[], &program("pg_resetwal"));
            reset.args(["--wal-segsize=1", "--pgdata"]).arg(data);
            run(reset, "").unwrap_or_else(|error| panic!("pg_resetwal: {error}"));
        })
    }
}

const MEBIBYTE: u64 = 1 << 20;
