//! Makes connections, for the pool and beside it.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio_postgres::{Config, Error, NoTls, SimpleQueryMessage};

use super::config::{Server, Target};
use super::drive::{Connected, drive};
use super::fault::PostgresError;
use super::tls::Tls;
use super::tls_error::TlsError;
use crate::store::StoreError;

/// Connects to the first of the servers that takes connections. Begins with the one that did the last time.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    servers: Vec<Server>,
    tls: Option<Tls>,
    is_of_primary: bool,
    /// What each server gets of the time to connect, so that the last one also gets some.
    each: Duration,
    first: AtomicUsize,
}

impl Connector {
    /// With this long to connect, and to wait for what was sent to be acknowledged.
    pub(super) fn new(mut target: Target, to_connect: Duration, unacknowledged: Duration) -> Result<Self, TlsError> {
        if let Some(server) = &target.exposed {
            tracing::warn!(
                server,
                "sslmode=disable sends passwords and hashes of keys to another machine as they are; `verify-full` hides them"
            );
        }
        let count = target.servers.len().max(1);
        // A tenth is for what comes after connecting.
        let each = (to_connect - to_connect / 10) / u32::try_from(count).unwrap_or(u32::MAX);
        target.set_times(each, unacknowledged);
        let first = match target.is_random {
            true => rand::random_range(0..count),
            false => 0,
        };
        Ok(Self(Arc::new(Inner {
            tls: target.files.as_ref().map(Tls::new).transpose()?,
            is_of_primary: target.is_of_primary,
            servers: target.servers,
            each,
            first: AtomicUsize::new(first),
        })))
    }

    pub(super) async fn connect(&self) -> Result<Connected, StoreError> {
        let connected = self.0.connect().await;
        connected.map_err(|refused| {
            let errors = refused.into_iter().map(|(server, error)| {
                let error = error.map_or_else(PostgresError::too_late, PostgresError::of_connecting);
                error.at(&server.name)
            });
            errors
                .reduce(PostgresError::and)
                .unwrap_or_else(PostgresError::too_late)
                .into()
        })
    }
}

impl Connect for Connector {
    fn connect(&self, _: &Config) -> Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send + '_>> {
        Box::pin(async {
            let refused = match self.0.connect().await {
                Ok(connected) => return Ok(connected),
                Err(refused) => refused,
            };
            match refused.into_iter().rev().find_map(|(_, error)| error) {
                Some(error) => Err(error),
                // The time of all was too short, and it is the pool's as well.
                None => pending().await,
            }
        })
    }
}

impl Inner {
    /// What each server said; `None` if nothing in its time.
    async fn connect(&self) -> Result<Connected, Vec<(&Server, Option<Error>)>> {
        let (count, first) = (self.servers.len(), self.first.load(Ordering::Relaxed));
        let (mut refused, mut only_reads) = (Vec::new(), None);
        let (before, from) = self.servers.split_at(first.min(count));
        for (index, server) in (first..).zip(from).chain((0..).zip(before)) {
            let mut attempt = Attempt {
                connector: self,
                index,
                has_connected: false,
            };
            match tokio::time::timeout(self.each, self.connect_to(server)).await {
                Ok(Ok((connected, true))) => {
                    self.first.store(index, Ordering::Relaxed);
                    attempt.has_connected = true;
                    return Ok(connected);
                }
                // Another one may have taken over. If none has, this is the primary.
                Ok(Ok((connected, false))) => {
                    attempt.has_connected = true;
                    only_reads.get_or_insert(connected);
                }
                Ok(Err(error)) => refused.push((server, Some(error))),
                Err(_) => refused.push((server, None)),
            }
        }
        only_reads.ok_or(refused)
    }

    /// Whether it is one that decides.
    async fn connect_to(&self, server: &Server) -> Result<(Connected, bool), Error> {
        let connected = match &self.tls {
            Some(tls) if server.is_by_tls => tls.connect(&server.config).await,
            _ => server.config.connect(NoTls).await.map(drive),
        }?;
        let writes = !self.is_of_primary || writes(&connected.0.simple_query(OF_PRIMARY).await?);
        Ok((connected, writes))
    }
}

/// Fails on a standby. What `target_session_attrs` of the driver looks at is on everywhere for a user whose transactions only read by
/// default; a server or a database may be set to only read while another one takes over.
const OF_PRIMARY: &str = "BEGIN READ WRITE; ROLLBACK; SELECT setting, source FROM pg_catalog.pg_settings \
     WHERE name OPERATOR(pg_catalog.=) 'default_transaction_read_only'";

fn writes(answer: &[SimpleQueryMessage]) -> bool {
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    row.is_some_and(|row| row.get(0) == Some("off") || matches!(row.get(1), Some("user" | "database user")))
}

/// Unless it succeeds, the next one begins with the next server. Also if the caller goes away before a server is given up that
/// does not answer.
struct Attempt<'c> {
    connector: &'c Inner,
    index: usize,
    has_connected: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.has_connected {
            return;
        }
        let next = (self.index + 1) % self.connector.servers.len().max(1);
        let first = &self.connector.first;
        // Another one may have succeeded meanwhile.
        let _ = first.compare_exchange(self.index, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A caller has less time than a server that does not answer.
    #[tokio::test]
    async fn abandoned_attempt_makes_next_begin_elsewhere() {
        let silent = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let target = Target::parse(&format!("host=127.0.0.1,localhost,127.0.0.2 port={port} user=keys")).unwrap();
        let connector = Connector::new(target, Duration::from_secs(60), Duration::ZERO).unwrap();
        for next in [1, 2, 0] {
            let abandoned = tokio::time::timeout(Duration::from_millis(20), connector.connect());
            assert!(abandoned.await.is_err());
            assert_eq!(connector.0.first.load(Ordering::Relaxed), next);
        }
    }
}
