//! What SQLite takes: `cargo bench --features sqlite -- store`, parts `find` and `commit`.
//!
//! `find` grows little with the number of keys: 10,000 and 1,000,000, and 10,000,000 with `API_KEYS_TESTS=full`. A commit, with its
//! audit event and its row of the change log, takes at most twice as long as the same rows written by hand, by one connection with
//! the same settings.

mod by_hand;
mod commit;
mod find;
mod rows;

use std::process::ExitCode;

use crate::support::{Bounds, is_wanted};

pub fn main() -> ExitCode {
    let mut bounds = Bounds::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        if is_wanted("commit") {
            commit::run(&mut bounds).await;
        }
        if is_wanted("find") {
            find::run(&mut bounds).await;
        }
    });
    bounds.exit_code()
}
