//! Processor time used so far. Always zero where it is not known, so that nothing is ever throttled there.

use std::time::Duration;

#[cfg(target_os = "linux")]
pub(super) fn of_this_thread() -> Duration {
    read(rustix::time::ClockId::ThreadCPUTime)
}

#[cfg(target_os = "linux")]
pub(super) fn of_this_process() -> Duration {
    read(rustix::time::ClockId::ProcessCPUTime)
}

#[cfg(target_os = "linux")]
fn read(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn of_this_thread() -> Duration {
    Duration::ZERO
}

#[cfg(not(target_os = "linux"))]
pub(super) fn of_this_process() -> Duration {
    Duration::ZERO
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_counts_for_its_thread_and_the_process() {
        let (thread, process) = (of_this_thread(), of_this_process());
        let used = std::thread::spawn(|| {
            while of_this_thread() < Duration::from_millis(20) {
                std::hint::spin_loop();
            }
            of_this_thread()
        });
        let used = used.join().unwrap();
        assert!(of_this_process() - process >= used);
        assert!(of_this_thread() - thread < used);
    }
}
