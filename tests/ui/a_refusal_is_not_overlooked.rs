//! A refusal that is dropped would be an admission.
#![deny(unused_must_use)]

use tower_api_key::store::MemoryStore;
use tower_api_key::{Attempt, Authenticator};

async fn reject(authenticator: &Authenticator<MemoryStore>) -> Option<()> {
    authenticator.check(Attempt::new(b"").into_owned()).await.err()?;
    None
}

fn main() {
    let _ = reject;
}
