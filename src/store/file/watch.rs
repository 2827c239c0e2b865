//! The thread that watches the one that looks at the file.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use super::served::Served;

/// Ends the keys of a file that nobody could look at for too long. A file system that hangs keeps the other thread in a call
/// without an end, and cached keys would live on for their time to live.
///
/// Until the last clone of the store is dropped, with which `open` ends.
pub(super) fn watch(served: &Served, open: &Receiver<Infallible>) {
    loop {
        match open.recv_timeout(served.look_ends_in()) {
            Err(RecvTimeoutError::Timeout) if served.end_look_if_due() => {
                tracing::error!(
                    "the file of keys could not be looked at for too long: all keys are refused until it can"
                );
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::clock::Clock;
    use crate::key::{KeyFormats, Lookup};
    use crate::store::file::entry::Rules;
    use crate::store::file::keys::{Keys, Syntax};

    /// In real time: what a file system does to a thread, no clock of a test does.
    fn until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn cached_keys_end_when_nobody_can_look_at_the_file() {
        let rules = Rules {
            formats: KeyFormats::default(),
            plaintext: false,
        };
        let keys = Keys::parse(b"keys = []\n[end]\n", Syntax::Toml, &rules).unwrap();
        let served = Arc::new(Served::new(keys, Clock::system(), Duration::from_secs(300)));
        let lookup = Lookup::new("lookup").unwrap();
        served.follows_for(Duration::from_millis(20));
        let epoch = served.fence.epoch();
        let (store, open) = sync_channel(0);
        let watched = served.clone();
        let watcher = thread::spawn(move || watch(&watched, &open));
        // Without a read: nobody but the watcher can tell those who have cached keys.
        until(|| served.fence.epoch() != epoch);
        assert!(served.find(&lookup).is_err() && !served.status().is_serving);
        let ended = served.fence.epoch();

        // The other thread is back, and goes away again.
        served.looked();
        until(|| served.fence.epoch() != ended);
        drop(store);
        watcher.join().unwrap();
    }
}
