//! How long an answer is waited for.

use std::future::Future;
use std::time::Duration;

use super::fault::PostgresError;
use crate::store::StoreError;

/// How long an answer of the server is waited for. It ends each statement sooner, and says so: one that says nothing stands still, or
/// something in between takes what is sent and answers nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience(pub(super) Duration);

impl Patience {
    pub(super) async fn wait<T, E: Into<StoreError>>(
        self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.0, answer).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(PostgresError::unanswered().into()),
        }
    }
}
