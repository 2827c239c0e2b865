//! A refusal that is ignored would be an admission.
#![deny(unused_must_use)]

use tower_api_key::store::MemoryStore;
use tower_api_key::{Authenticator, PresentedKey};

async fn reject(authenticator: &Authenticator<MemoryStore>) -> Option<()> {
    authenticator.check(PresentedKey::new(b"")).await.err()?;
    None
}

fn main() {
    let _ = reject;
}
