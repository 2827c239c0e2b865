//! The threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::PoolError;
use super::shared::{Job, Shared};
use crate::client::ClientGroup;
use crate::hash::blocks::Blocks;

/// Starts a thread that works jobs off until the pool is shut down.
pub(super) fn spawn(shared: Arc<Shared>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name(String::from("api-key-hash"))
        .spawn(move || work(&shared))
        .map(|_| ())
}

fn work(shared: &Shared) {
    lower_priority(shared.settings.niceness);
    let mut blocks = Blocks::default();
    while let Some((client, job)) = shared.next_job() {
        blocks.keep_at_most(shared.kept_kib());
        perform(shared, client, job, &mut blocks);
    }
}

fn perform(shared: &Shared, client: ClientGroup, job: Job, blocks: &mut Blocks) {
    let Job {
        recipe,
        key,
        purpose,
        reply,
        ..
    } = job;
    let run = shared.begin_run();
    // A panic here must cost one answer and not the thread: the pool would shrink with each.
    let result = catch_unwind(AssertUnwindSafe(|| {
        shared.settings.before_each_hash();
        let computed = recipe.run(key.as_bytes(), blocks).map_err(PoolError::failed)?;
        // Found out here and not by who asked: whoever hangs up in time would never have sent a wrong key.
        let was_right = purpose.settle(&computed);
        Ok((computed, was_right))
    }));
    let (answer, was_right) = match result {
        Ok(Ok((computed, was_right))) => (Ok(computed), was_right),
        Ok(Err(error)) => (Err(error), None),
        Err(_) => (Err(PoolError::failed("a hash panicked")), None),
    };
    let rest = run.end(client, was_right);
    // Nobody may be waiting any more.
    let _ = reply.send(answer);
    shared.rest(rest);
}

/// On Linux the priority of a single thread can be lowered, so that hashing takes what the requests leave. Elsewhere
/// the same call would mean the whole process.
#[cfg(target_os = "linux")]
fn lower_priority(niceness: u8) {
    let wanted = i32::from(niceness);
    // Raising it again would need a privilege, and a process that was started nicer than that stays so.
    let current = rustix::process::getpriority_process(None).unwrap_or(0);
    if wanted > current
        && let Err(error) = rustix::process::setpriority_process(None, wanted)
    {
        tracing::debug!(%error, "the hash threads run at the priority of the others");
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority(_niceness: u8) {}
