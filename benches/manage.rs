//! The management API and its program: `cargo bench --all-features -- manage`, parts `list`, `create` and `start`.
//!
//! Lists of 100,000 keys take no more memory than those of 1,000, by the program and by the server. A key that is created over HTTP
//! takes little more than one that is created in the process, whose hash is the most of both. A server of 100,000 keys is ready as soon
//! as one of none.

mod create;
mod database;
mod list;
mod start;

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
        if is_wanted("create") {
            create::run(&mut bounds).await;
        }
        if is_wanted("list") {
            list::run(&mut bounds).await;
        }
        if is_wanted("start") {
            start::run(&mut bounds).await;
        }
    });
    bounds.exit_code()
}
