//! A client, and what reads and writes for it.

use tokio::task::JoinHandle;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, Socket};

use super::fault::PostgresError;

pub(super) type Connected = (Client, JoinHandle<()>);

/// Reads and writes for a client until it is dropped.
pub(super) fn drive<T>((client, connection): (Client, Connection<Socket, T>)) -> Connected
where
    T: TlsStream + Unpin + Send + 'static,
{
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %PostgresError::from(error), "a connection to the database ended");
        }
    });
    (client, driver)
}
