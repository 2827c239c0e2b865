//! The thread that looks at the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::entry::Rules;
use super::keys::{Keys, Syntax};
use super::problem::{AtFile, Problem};
use super::served::Served;
use super::source::{Contents, Source, Stamp};
use crate::store::StoreError;

/// Where the result of a reload goes.
pub(super) type Reply = oneshot::Sender<Result<(), StoreError>>;

/// A thread of its own instead of a task: a runtime may end, and the keys that were removed must end all the same.
pub(super) struct Follower {
    source: Source,
    syntax: Syntax,
    rules: Rules,
    /// What was read last, usable or not.
    seen: Option<Stamp>,
    /// Of the text whose keys are served.
    served: Option<[u8; 32]>,
    /// Whether the file system counts the names of a file.
    counts_names: bool,
}

impl Follower {
    pub(super) fn new(source: Source, syntax: Syntax, rules: Rules) -> Self {
        Self {
            source,
            syntax,
            rules,
            seen: None,
            served: None,
            counts_names: false,
        }
    }

    /// The keys of the start.
    pub(super) fn begin(&mut self) -> Result<Keys, StoreError> {
        let read = self.source.read_quiet().and_then(|contents| {
            let keys = self.parse(&contents)?;
            Ok((keys, contents))
        });
        let (keys, contents) = read.map_err(|problem| self.at_file(problem))?;
        self.seen = Some(contents.stamp);
        self.served = Some(digest(&contents));
        self.counts_names = !contents.is_deleted;
        if keys.has_plaintext {
            let path = self.source.path().display();
            tracing::warn!(%path, "the file of keys has keys in plain text; write their SHA-256 instead");
        }
        Ok(keys)
    }

    /// Until the last clone of the store is dropped.
    pub(super) fn run(mut self, served: &Arc<Served>, requests: &Receiver<Reply>, interval: Duration) {
        loop {
            // The keys of a broken file end when they have to, however rarely it is looked at.
            match requests.recv_timeout(served.ends_in().map_or(interval, |left| left.min(interval))) {
                Ok(reply) => {
                    // Who asked may be gone.
                    let _ = reply.send(self.reload(served).map_err(|problem| self.at_file(problem)));
                }
                Err(RecvTimeoutError::Timeout) => self.look(served),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            served.looked();
            if served.end_if_due() {
                let path = self.source.path().display();
                tracing::error!(%path, "the file of keys has been broken for too long: all keys are refused");
            }
        }
    }

    fn look(&mut self, served: &Served) {
        let stamp = self.source.stamp();
        // A stamp that is too young could be that of two different texts.
        let is_seen = stamp.is_some_and(|stamp| Some(stamp) == self.seen && stamp.is_settled());
        if !is_seen {
            // What went wrong was logged.
            let _ = self.reload(served);
        }
    }

    fn reload(&mut self, served: &Served) -> Result<(), Problem> {
        let before = self.seen;
        let read = catch_unwind(AssertUnwindSafe(|| self.read()));
        let read = read.unwrap_or_else(|_| Err(Problem::new("could not be read: a parser panicked")));
        let result = read.map(|keys| self.take(keys, served));
        match &result {
            Ok(()) => {}
            Err(problem) => {
                if served.fail(problem, self.seen.is_some() && self.seen != before) {
                    count("failed");
                    let path = self.source.path().display();
                    tracing::error!(%path, %problem, "the file of keys is not reloaded; the keys of before stay for now");
                }
            }
        }
        result
    }

    /// The keys of the file, or nothing if they are those that are served.
    fn read(&mut self) -> Result<Option<(Keys, [u8; 32])>, Problem> {
        self.seen = None;
        let contents = self.source.read_settled()?;
        self.seen = Some(contents.stamp);
        if contents.is_deleted && self.counts_names {
            // What is written there now never comes here: a removed key would live on.
            return Err(Problem::new(
                "is mounted alone, and was replaced where it comes from: mount its folder",
            ));
        }
        let digest = digest(&contents);
        // Parsed in any case: with plaintext, the file's mode counts as well.
        let keys = self.parse(&contents)?;
        Ok((self.served != Some(digest)).then_some((keys, digest)))
    }

    fn take(&mut self, keys: Option<(Keys, [u8; 32])>, served: &Served) {
        let path = self.source.path().display();
        let Some((keys, digest)) = keys else {
            if served.confirm() {
                tracing::info!(%path, "the file of keys can be used again, and is unchanged");
            }
            return;
        };
        let number = keys.len();
        served.replace(keys);
        self.served = Some(digest);
        count("taken");
        tracing::info!(%path, keys = number, "the file of keys is reloaded");
    }

    fn parse(&self, contents: &Contents) -> Result<Keys, Problem> {
        let keys = Keys::parse(&contents.text, self.syntax, &self.rules)?;
        if keys.has_plaintext && contents.readable_by_others {
            return Err(Problem::new(
                "has keys in plain text and may be read by others: chmod go-r",
            ));
        }
        Ok(keys)
    }

    fn at_file(&self, problem: Problem) -> StoreError {
        let path = self.source.path().to_owned();
        AtFile { path, problem }.into()
    }
}

fn digest(contents: &Contents) -> [u8; 32] {
    Sha256::digest(&*contents.text).into()
}

#[cfg(feature = "metrics")]
fn count(result: &'static str) {
    metrics::counter!("api_key_file_reloads_total", "result" => result).increment(1);
}

#[cfg(not(feature = "metrics"))]
fn count(_: &'static str) {}
