//! The threads of a pool.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Assigned, Finished, PoolCore, Role};
use super::cpu_time;
use super::error::PoolError;
use super::job::{Job, Purpose};
use super::slow;

/// Starts the threads that a job of this purpose needs and that do not run yet: a service whose keys all have fast hashes has
/// none.
pub(super) fn start(core: &Arc<PoolCore>, purpose: &Purpose) -> Result<(), PoolError> {
    core.start_threads(purpose, |role| spawn(core.clone(), role))
}

/// Starts a thread that runs until the pool is shut down.
fn spawn(core: Arc<PoolCore>, role: Role) -> io::Result<()> {
    let name = match role {
        Role::Background => "api-key-hash",
        Role::Operator => "api-key-issue",
        Role::Timer => "api-key-timer",
    };
    let run = move || match role {
        Role::Timer => core.keep_time(),
        _ => work(&core, role),
    };
    std::thread::Builder::new()
        .name(String::from(name))
        .spawn(run)
        .map(|_| ())
}

fn work(core: &PoolCore, role: Role) {
    if role == Role::Background {
        lower_priority(core.settings.niceness);
    }
    let mut rests_until = Instant::now();
    while let Some(assigned) = core.next_job(role, rests_until) {
        let rest = run(core, assigned);
        rests_until = rests_until.max(Instant::now() + rest);
    }
}

/// Computes a hash and sends the answer. Returns how long to rest after it.
fn run(core: &PoolCore, assigned: Assigned) -> Duration {
    let Assigned {
        client,
        job: Job {
            recipe,
            key,
            purpose,
            reply,
            ..
        },
        mut blocks,
    } = assigned;
    let (began, cpu) = (core.settings.clock.now(), cpu_time::of_this_thread());
    // A panic must cost one answer and not the thread: the pool would lose a worker with each.
    let result = catch_unwind(AssertUnwindSafe(|| {
        core.settings.before_each_hash();
        let computed = recipe.run(key.as_bytes(), &mut blocks).map_err(PoolError::failed)?;
        // Here and not where the answer arrives: a client that hangs up in time would never have sent a wrong key.
        let was_right = purpose.report(&computed);
        Ok((computed, was_right))
    }));
    let cpu = cpu_time::of_this_thread().saturating_sub(cpu);
    let (answer, was_right) = match result {
        Ok(Ok((computed, was_right))) => (Ok(computed), was_right),
        Ok(Err(error)) => (Err(error), None),
        Err(_) => (Err(PoolError::failed("a hash panicked")), None),
    };
    if cfg!(debug_assertions) {
        slow::warn_once(cpu);
    }
    let rest = core.finish(Finished {
        client,
        reply: reply.clone(),
        blocks,
        was_right,
        began,
        cpu,
    });
    reply.send(answer);
    rest
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
