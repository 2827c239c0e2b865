//! The threads of a pool.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::core::{Finished, PoolCore};
use super::cpu_time;
use super::error::PoolError;
use super::job::Job;
use crate::client::ClientGroup;
use crate::hash::memory::Blocks;

/// Starts the threads that do not run yet. The first job does: a service whose keys all have fast hashes has none.
pub(super) fn start(core: &Arc<PoolCore>) -> Result<(), PoolError> {
    core.start_threads(|| spawn(core.clone()))
}

/// Starts a thread that runs jobs until the pool is shut down.
fn spawn(core: Arc<PoolCore>) -> io::Result<()> {
    std::thread::Builder::new()
        .name(String::from("api-key-hash"))
        .spawn(move || work(&core))
        .map(|_| ())
}

fn work(core: &PoolCore) {
    lower_priority(core.settings.niceness);
    let mut blocks = Blocks::default();
    while let Some((client, job)) = core.next_job() {
        blocks.keep_at_most(core.memory.kib());
        run(core, client, job, &mut blocks);
    }
}

fn run(core: &PoolCore, client: ClientGroup, job: Job, blocks: &mut Blocks) {
    let Job {
        recipe,
        key,
        purpose,
        reply,
    } = job;
    let (began, cpu) = (core.settings.clock.now(), cpu_time::of_this_thread());
    // A panic must cost one answer and not the thread: the pool would lose a worker with each.
    let result = catch_unwind(AssertUnwindSafe(|| {
        core.settings.before_each_hash();
        let computed = recipe.run(key.as_bytes(), blocks).map_err(PoolError::failed)?;
        // Here and not where the answer arrives: a client that hangs up in time would never have sent a wrong key.
        let was_right = purpose.report(&computed);
        Ok((computed, was_right))
    }));
    let (answer, was_right) = match result {
        Ok(Ok((computed, was_right))) => (Ok(computed), was_right),
        Ok(Err(error)) => (Err(error), None),
        Err(_) => (Err(PoolError::failed("a hash panicked")), None),
    };
    let rest = core.finish(Finished {
        client,
        was_right,
        began,
        cpu: cpu_time::of_this_thread().saturating_sub(cpu),
    });
    // The caller may have gone away.
    let _ = reply.send(answer);
    core.rest(rest);
}

/// Linux can lower the priority of a single thread, so that hashing takes what the requests leave. Elsewhere the same
/// call would mean the whole process.
#[cfg(target_os = "linux")]
fn lower_priority(niceness: u8) {
    let wanted = i32::from(niceness);
    // A process may be started with a lower priority than this. Raising it would need a privilege.
    let current = rustix::process::getpriority_process(None).unwrap_or(0);
    if wanted > current
        && let Err(error) = rustix::process::setpriority_process(None, wanted)
    {
        tracing::debug!(%error, "cannot lower the priority of the hash threads");
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority(_niceness: u8) {}
