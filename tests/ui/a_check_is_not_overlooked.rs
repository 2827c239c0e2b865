//! The answer of a check must be used.
#![deny(unused_must_use)]

use tower_api_key::store::MemoryStore;
use tower_api_key::{Authenticator, PresentedKey};

async fn check(authenticator: &Authenticator<MemoryStore>) {
    authenticator.check(PresentedKey::new(b"")).await;
}

fn main() {
    let _ = check;
}
