//! A copied database becomes one of its own.

use clap::Args;
use serde_json::json;
use tower_api_key::Adopt as Request;

use crate::failure::Failure;
use crate::global::Global;
use crate::output::record;
use crate::work::{confirm, database, output};

/// Makes a copied database one of its own: with a new identity and new secrets, and without the operator's keys. Nothing else may have it
/// open. The root key file has a new key in its first line, and that of the original in its second.
#[derive(Args, Debug)]
pub(crate) struct Adopt {
    /// Revokes all keys, not the operator's alone
    #[arg(long)]
    revoke_all_keys: bool,
    /// Deletes what the copy holds of persons
    #[arg(long)]
    forget_persons: bool,
    /// Deletes addresses and user agents
    #[arg(long)]
    forget_origins: bool,
}

impl Adopt {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        let database = database(global, "adopt")?;
        // Before it asks: whether it can be done at all.
        let store = database.open().await?;
        let keys = if self.revoke_all_keys {
            "all keys"
        } else {
            "the operator's keys"
        };
        let what = format!(
            "Give {} a new identity and new secrets, and revoke {keys} in it, for good",
            database.place()
        );
        confirm(global.yes, &what)?;
        let mut request = Request::new();
        if self.revoke_all_keys {
            request = request.revoke_all_keys();
        }
        if self.forget_persons {
            request = request.forget_persons();
        }
        if self.forget_origins {
            request = request.forget_origins();
        }
        let builder = database.builder(store, global)?;
        let keys = builder.adopt(request).await?;
        let numbers = keys.statistics(None).await?;
        keys.flush().await?;
        let answer = json!({
            "database": database.place(),
            "keys": numbers.total,
            "active": numbers.active,
            "revoked": numbers.revoked,
        });
        output(global).show(&answer, |answer| {
            format!(
                "The database is one of its own now. `api-keys init` makes a key for its operator.\n\n{}",
                record(answer)
            )
        })
    }
}
