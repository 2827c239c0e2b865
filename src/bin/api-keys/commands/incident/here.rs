//! Of a key in a database of this machine: all that it has.

use serde_json::{Value, json};
use tower_api_key::key::{KeyId, KeyLife, KeyRecord, Timestamp};
use tower_api_key::store::StoredKey;
use tower_api_key::store::query::{DescendantsOf, KeyUses};
use tower_api_key::{ApiKeys, Descendants};

use super::{Found, REASON};
use crate::failure::Failure;
use crate::work::host;

/// Revokes a key and what was made with it, in one transaction: their ids.
pub(super) async fn revoke(keys: &ApiKeys, id: &str, since: Option<Timestamp>) -> Result<Vec<String>, Failure> {
    let descendants = since.map_or(Descendants::Revoke, Descendants::RevokeSince);
    let done = host(keys)
        .revoke_with_descendants(parsed(id)?, descendants, REASON)
        .await?;
    Ok(done.changed.iter().map(|record| record.id.to_string()).collect())
}

pub(super) async fn found(keys: &ApiKeys, id: &str, since: Option<Timestamp>) -> Result<Found, Failure> {
    let id = parsed(id)?;
    let uses = keys.read(KeyUses::of(id)).await?;
    let networks = uses.first().map(|uses| {
        let networks = uses.networks.iter();
        let networks =
            networks.map(|network| json!({"network": network.network, "first_seen": network.first_seen.to_string()}));
        networks.collect::<Vec<_>>()
    });
    let made = descendants(keys, id, since).await?;
    Ok(Found {
        total: made.len() as u64,
        made,
        networks: json!(networks.unwrap_or_default()),
    })
}

/// The keys that were made with it, and with these, and so on.
async fn descendants(keys: &ApiKeys, id: KeyId, since: Option<Timestamp>) -> Result<Vec<Value>, Failure> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let mut query = DescendantsOf::key(id);
        if let Some(last) = after {
            query = query.after(last);
        }
        let page = keys.read(query).await?;
        let (read, last) = (page.len(), page.last().map(|record| record.id));
        let wanted = page
            .into_iter()
            .filter(|record| since.is_none_or(|since| record.created_at >= since));
        found.extend(wanted.map(|record| {
            json!({
                "id": record.id.to_string(),
                "name": record.name,
                "organization_id": record.organization_id.to_string(),
                "user": record.user.as_ref().map(ToString::to_string),
                "status": life_of(&record),
                "created_at": record.created_at.to_string(),
                "created_by_key": record.created_by_key.map(|id| id.to_string()),
            })
        }));
        if read < DescendantsOf::MOST {
            return Ok(found);
        }
        after = last;
    }
}

fn parsed(id: &str) -> Result<KeyId, Failure> {
    Ok(id.parse()?)
}

/// Whether a key works.
pub(in crate::commands) fn life(key: &StoredKey) -> &'static str {
    life_of(&key.record)
}

fn life_of(record: &KeyRecord) -> &'static str {
    match record.life(Timestamp::now()) {
        KeyLife::Disabled => "disabled",
        KeyLife::Revoked => "revoked",
        KeyLife::Expired => "expired",
        _ => "active",
    }
}
