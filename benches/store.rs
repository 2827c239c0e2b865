//! What SQLite takes: `cargo bench --features sqlite -- store`, parts `find` and `commit`. And what PostgreSQL takes: see `postgres`.
//!
//! `find` grows little with the number of keys: 10,000 and 1,000,000, and 10,000,000 with `API_KEYS_TESTS=full`. A commit, with its
//! audit event and its row of the change log, takes at most twice as long as the same rows written by hand, by one connection with
//! the same settings.

#[cfg(feature = "sqlite")]
mod by_hand;
#[cfg(feature = "sqlite")]
mod commit;
#[cfg(feature = "sqlite")]
mod find;
#[cfg(feature = "postgres")]
mod postgres;
pub mod rows;

use std::process::ExitCode;

use crate::support::Bounds;
#[cfg(feature = "sqlite")]
use crate::support::is_wanted;

pub fn main() -> ExitCode {
    let mut bounds = Bounds::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let has_run = runtime.block_on(async {
        #[cfg(feature = "sqlite")]
        {
            if is_wanted("commit") {
                commit::run(&mut bounds).await;
            }
            if is_wanted("find") {
                find::run(&mut bounds).await;
            }
        }
        #[cfg(feature = "postgres")]
        let has_run = postgres::run(&mut bounds).await;
        #[cfg(not(feature = "postgres"))]
        let has_run = true;
        has_run
    });
    match has_run {
        true => bounds.exit_code(),
        false => ExitCode::FAILURE,
    }
}
