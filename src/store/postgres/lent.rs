//! A connection that was lent, and whether it goes back to its pool.

use std::time::Duration;

use deadpool_postgres::Client;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::fault::{has_forgotten, makes_connection_useless};
use crate::store::{StoreError, StoreErrorKind};

/// A connection, and the place of its work among others of its kind.
pub(super) struct Lent {
    /// Until it goes back.
    client: Option<Client>,
    /// How long its last statement may take.
    longest: Duration,
    places: Option<Places>,
}

/// The place among those at work, and the one among those that wait.
pub(super) type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Lent {
    pub(super) fn new(client: Client, longest: Duration, places: Option<Places>) -> Self {
        Self {
            client: Some(client),
            longest,
            places,
        }
    }

    pub(super) fn client(&mut self) -> Result<&mut Client, StoreError> {
        let gone = || StoreError::with_source(StoreErrorKind::Unavailable, "the connection was given back");
        self.client.as_mut().ok_or_else(gone)
    }

    /// Whether the connection has forgotten the statements that are prepared on it, as after `DISCARD ALL` by the application. Then they
    /// are prepared anew.
    pub(super) fn has_forgotten<T>(&self, answer: &Result<T, StoreError>) -> bool {
        let has_forgotten = answer.as_ref().is_err_and(has_forgotten);
        if let (Some(client), true) = (&self.client, has_forgotten) {
            client.statement_cache.clear();
        }
        has_forgotten
    }

    /// The place of work that goes on without the connection.
    pub(super) fn take_places(&mut self) -> Option<Places> {
        self.places.take()
    }

    /// Its work has ended with this answer.
    ///
    /// A connection to a standby, or to another database, would be lent again and again, although new ones may lead to the right
    /// server: it is closed. So is one that owes an answer.
    pub(super) fn end<T>(mut self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let client = self.client.take();
        if let (Some(client), Err(error)) = (client, &answer)
            && makes_connection_useless(error)
        {
            drop(Client::take(client));
        }
        answer
    }
}

impl Drop for Lent {
    /// Its caller went away, or was not answered in time. What it has asked is still to be answered: of a server that stands
    /// still, nobody would count how much is asked meanwhile, and it would answer all that before anything new. So the connection goes
    /// back once it is quiet, and otherwise not at all.
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            drop(Client::take(client));
            return;
        };
        let longest = self.longest;
        runtime.spawn(async move {
            // Answered after everything that was asked before, on a connection that is in no transaction.
            let quiet = tokio::time::timeout(longest, client.batch_execute("")).await;
            if !matches!(quiet, Ok(Ok(()))) {
                drop(Client::take(client));
            }
        });
    }
}
