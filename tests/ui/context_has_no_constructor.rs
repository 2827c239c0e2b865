//! Only a check makes a context: who has one has had a key verified.

use tower_api_key::AuthContext;

fn main() {
    let _ = AuthContext::new;
}
