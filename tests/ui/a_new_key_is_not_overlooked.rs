//! A new key that is dropped is lost.
#![deny(unused_must_use)]

use tower_api_key::store::MemoryStore;
use tower_api_key::{IssueError, IssueRequest, Issuer};

async fn issue(issuer: &Issuer<MemoryStore>, request: IssueRequest) -> Result<(), IssueError> {
    issuer.issue(request).await?;
    Ok(())
}

fn main() {
    let _ = issue;
}
