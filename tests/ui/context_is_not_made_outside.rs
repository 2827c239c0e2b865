//! Only a check makes a context, so a context proves that a key was verified.

use tower_api_key::AuthContext;

fn of_another(context: AuthContext) -> AuthContext {
    AuthContext { ..context }
}

fn main() {
    let _ = of_another;
}
