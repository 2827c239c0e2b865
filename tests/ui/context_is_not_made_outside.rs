//! Only a check makes a context.

use tower_api_key::AuthContext;

fn from_parts(context: AuthContext) -> AuthContext {
    AuthContext { ..context }
}

fn by_name(context: &AuthContext) -> AuthContext {
    AuthContext::new(context.clone())
}

fn main() {}
