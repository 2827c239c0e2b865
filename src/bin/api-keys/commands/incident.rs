//! What is known of a key that is in wrong hands.

use clap::Args;
use serde_json::{Value, json};
use tower_api_key::audit::AuditEntry;
use tower_api_key::key::{Actor, KeyLife, KeyRecord, Timestamp};
use tower_api_key::store::StoredKey;
use tower_api_key::store::query::{AuditEvents, DescendantsOf, KeyUses};
use tower_api_key::{ApiKeys, Descendants};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::{cell, record, table};
use crate::text::{minute, moment};

/// What a key did, where from, and which keys were made with it. With --revoke, it and these are revoked first.
#[derive(Args, Debug)]
pub(crate) struct Incident {
    /// The key's id, or its lookup
    key: String,
    /// From when the key is in wrong hands, such as 2026-01-31T12:00:00Z or 24h; without it, from the start
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Revokes the key, and the keys that were made with it since then, for good
    #[arg(long)]
    revoke: bool,
}

/// Events of one kind in a report at most. `audit export --key` has them all.
const MOST_EVENTS: usize = 1_000;
const PAGE: u16 = 200;

pub(crate) async fn run(global: &Global, incident: Incident) -> Result<(), Failure> {
    let keys = super::database(global, "incident")?.keys(global).await?;
    let key = super::key_here(&keys, &incident.key).await?;
    let id = key.record.id;
    let mut revoked = Vec::new();
    if incident.revoke {
        let what = format!(
            "Revoke \"{}\" ({id}) and the keys that were made with it, for good",
            crate::text::shown(&key.record.name)
        );
        super::confirm(global.yes, &what)?;
        let descendants = incident.since.map_or(Descendants::Revoke, Descendants::RevokeSince);
        let host = super::host(&keys);
        let done = host.revoke_with_descendants(id, descendants, "in wrong hands").await?;
        revoked = done.changed.iter().map(|record| record.id.to_string()).collect();
    }
    let report = report(&keys, key, &incident, revoked).await?;
    let _ = keys.flush().await;
    super::output(global).show(&report, text)
}

async fn report(keys: &ApiKeys, key: StoredKey, incident: &Incident, revoked: Vec<String>) -> Result<Value, Failure> {
    let id = key.record.id;
    let uses = keys.read(KeyUses::of(id)).await?;
    let uses = uses.first();
    let since = incident.since.unwrap_or(Timestamp::from_millis(0));
    let (about, about_is_whole) = events(keys, AuditEvents::all().key(id).since(since)).await?;
    let (by, by_is_whole) = events(keys, AuditEvents::all().actor(Actor::key(id)).since(since)).await?;
    let minted = descendants(keys, &key, incident.since).await?;
    // As it is after a revoke.
    let key = super::host(keys).key(id).await?.unwrap_or(key);
    let record = &key.record;
    Ok(json!({
        "key": {
            "id": record.id.to_string(),
            "name": record.name,
            "organization_id": record.organization_id.to_string(),
            "user": record.user.as_ref().map(ToString::to_string),
            "status": life(&key),
            "scopes": record.scopes.to_string(),
            "roles": record.roles.to_string(),
            "networks": record.networks.to_string(),
            "created_at": record.created_at.to_string(),
            "created_by": record.created_by.to_string(),
            "created_by_key": record.created_by_key.map(|id| id.to_string()),
            "expires_at": record.expires_at.map(|at| at.to_string()),
        },
        "uses": {
            "requests": uses.map_or(0, |uses| uses.requests()),
            "last_used_at": uses.and_then(|uses| uses.last_used_at()).map(|at| at.to_string()),
            "last_addresses": uses.map(|uses| uses.secrets.iter()
                .filter_map(|secret| secret.last_address.map(|address| address.to_string())).collect::<Vec<_>>()),
            "networks": uses.map(|uses| uses.networks.iter()
                .map(|network| json!({"network": network.network, "first_seen": network.first_seen.to_string()}))
                .collect::<Vec<_>>()),
        },
        "revoked_now": revoked,
        "made_with_it": minted,
        "events_by_it": by,
        "events_of_it": about,
        "is_whole": about_is_whole && by_is_whole,
    }))
}

async fn events(keys: &ApiKeys, events: AuditEvents) -> Result<(Vec<Value>, bool), Failure> {
    let events = events.page(PAGE);
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let page = match next {
            Some(cursor) => keys.read(events.clone().after(cursor)).await?,
            None => keys.read(events.clone()).await?,
        };
        found.extend(page.items.iter().map(event));
        match page.next {
            None => return Ok((found, true)),
            Some(_) if found.len() >= MOST_EVENTS => return Ok((found, false)),
            cursor => next = cursor,
        }
    }
}

fn event(entry: &AuditEntry) -> Value {
    let event = &entry.event;
    json!({
        "at": event.at.to_string(),
        "action": event.action.to_string(),
        "actor": event.actor.to_string(),
        "organization_id": event.organization_id.to_string(),
        "key_id": event.key_id.map(|id| id.to_string()),
        "user": event.user.as_ref().map(ToString::to_string),
        "details": event.details.iter().map(|(name, value)| (name.clone(), value.clone().into()))
            .collect::<serde_json::Map<_, _>>(),
    })
}

/// The keys that were made with it, and with these, and so on.
async fn descendants(keys: &ApiKeys, key: &StoredKey, since: Option<Timestamp>) -> Result<Vec<Value>, Failure> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let mut query = DescendantsOf::key(key.record.id);
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

/// Whether a key works.
pub(super) fn life(key: &StoredKey) -> &'static str {
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

fn text(report: &Value) -> String {
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let events = |name: &str| {
        let events = list(name);
        match events.is_empty() {
            true => "none".to_owned(),
            false => table(
                &["time", "action", "actor", "key"],
                events.iter().map(|event| {
                    vec![
                        minute(&cell(&event["at"])),
                        cell(&event["action"]),
                        cell(&event["actor"]),
                        cell(&event["key_id"]),
                    ]
                }),
            ),
        }
    };
    let made = list("made_with_it");
    let made = match made.is_empty() {
        true => "none".to_owned(),
        false => table(
            &["id", "name", "status", "created"],
            made.iter().map(|key| {
                vec![
                    cell(&key["id"]),
                    cell(&key["name"]),
                    cell(&key["status"]),
                    minute(&cell(&key["created_at"])),
                ]
            }),
        ),
    };
    let revoked = match list("revoked_now").len() {
        0 => String::new(),
        keys => format!("\nRevoked now: {keys} keys.\n"),
    };
    let more = match report["is_whole"].as_bool() {
        Some(false) => "\n\nThere are more events: `api-keys audit export --key ID` has them all.",
        _ => "",
    };
    format!(
        "{}\n{revoked}\nUses\n{}\n\nKeys that were made with it\n{made}\n\nWhat was done with it\n{}\n\nWhat was done to it\n{}{more}",
        record(&report["key"]),
        record(&report["uses"]),
        events("events_by_it"),
        events("events_of_it"),
    )
}
