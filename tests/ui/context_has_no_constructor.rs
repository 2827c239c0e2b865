//! Only a check makes a context, so a context proves that a key was verified.

use tower_api_key::AuthContext;

fn main() {
    let _ = AuthContext::new;
}
