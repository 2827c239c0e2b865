//! Of a key of a server, over its management API.

use http::Method;
use serde_json::{Value, json};
use tower_api_key::key::Timestamp;

use super::{Found, REASON};
use crate::failure::Failure;
use crate::output::cell;
use crate::work::Work;

/// The keys that were made with a key, as the server selects them.
struct Selected {
    /// The change of all of them, without the digest that makes it.
    change: Value,
    /// What the server says they are: the first hundred, and how many there are.
    preview: Value,
}

/// Revokes a key and what was made with it: their ids, as far as the server names them.
pub(super) async fn revoke(work: &Work, key: &Value, since: Option<Timestamp>) -> Result<Vec<String>, Failure> {
    let selected = Selected::of(work, key, since).await?;
    if selected.preview["digest"].is_null() {
        return Err(Failure::Refused(format!(
            "{} keys were made with it, which are too many for one change: give a --since",
            cell(&selected.preview["total"])
        )));
    }
    // The key first, so that it makes no more of them.
    let path = format!("/keys/{}", cell(&key["id"]));
    let body = json!({"reason": REASON, "descendants": "none"});
    work.api.call(Method::DELETE, &path, body).await?;
    let mut revoked = vec![cell(&key["id"])];
    // Those that it made in between are in this one.
    let Selected { mut change, preview } = Selected::of(work, key, since).await?;
    if preview["total"] != 0 {
        change["digest"] = preview["digest"].clone();
        let done = work.api.call(Method::POST, "/keys/bulk", change).await?;
        let ids = done["keys"].as_array().into_iter().flatten();
        revoked.extend(ids.map(|key| cell(&key["id"])));
    }
    Ok(revoked)
}

pub(super) async fn found(work: &Work, key: &Value, since: Option<Timestamp>) -> Result<Found, Failure> {
    let Selected { preview, .. } = Selected::of(work, key, since).await?;
    Ok(Found {
        made: preview["keys"].as_array().cloned().unwrap_or_default(),
        total: preview["total"].as_u64().unwrap_or_default(),
        networks: Value::Null,
    })
}

impl Selected {
    async fn of(work: &Work, key: &Value, since: Option<Timestamp>) -> Result<Self, Failure> {
        match Self::among(work, key, since, "all").await {
            // Keys of all organizations are for operators. Another key makes keys of its own organization alone.
            Err(Failure::Refused(_)) => Self::among(work, key, since, &cell(&key["organization_id"])).await,
            selected => selected,
        }
    }

    async fn among(work: &Work, key: &Value, since: Option<Timestamp>, organization: &str) -> Result<Self, Failure> {
        let mut selection = json!({"descendants_of": key["id"], "organization": organization});
        if let Some(since) = since {
            selection["since"] = since.to_string().into();
        }
        let change = json!({"action": "revoke", "selection": selection, "reason": REASON});
        let preview = work.api.call(Method::POST, "/keys/bulk", change.clone()).await?;
        Ok(Self { change, preview })
    }
}
