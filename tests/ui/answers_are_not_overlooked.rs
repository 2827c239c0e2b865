//! A refusal that is dropped would be an admission; a key that is dropped is lost for ever.
#![deny(unused_must_use)]

use tower_api_key::store::MemoryStore;
use tower_api_key::{Attempt, Authenticator, IssueError, IssueRequest, IssuedKey, Issuer, Rejection};

async fn check(authenticator: &Authenticator<MemoryStore>) {
    authenticator.check(Attempt::new(b"").into_owned()).await;
}

async fn reject(authenticator: &Authenticator<MemoryStore>) -> Option<()> {
    authenticator.check(Attempt::new(b"").into_owned()).await.err()?;
    None
}

async fn issue(issuer: &Issuer<MemoryStore>, request: IssueRequest) -> Result<(), IssueError> {
    issuer.issue(request).await?;
    Ok(())
}

fn main() {
    let _: (fn(Rejection), fn(IssuedKey)) = (drop, drop);
}
