//! Only a check makes a context: who has one has had a key verified.

use tower_api_key::AuthContext;

fn of_another(context: AuthContext) -> AuthContext {
    AuthContext { ..context }
}

fn main() {
    let _ = of_another;
}
