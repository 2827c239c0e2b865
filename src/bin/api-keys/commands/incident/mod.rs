//! What is known of a key that is in wrong hands.

mod here;
mod there;

use clap::Args;
use http::Method;
use serde_json::{Value, json};
use tower_api_key::key::Timestamp;

pub(super) use self::here::life;
use super::keys::One;
use crate::failure::Failure;
use crate::output::{cell, record, table};
use crate::text::{encoded, minute, moment};
use crate::work::Work;

/// What a key did, where from, and which keys were made with it. With --revoke, it and these are revoked first.
#[derive(Args, Debug)]
pub(crate) struct Incident {
    #[command(flatten)]
    key: One,
    /// From when the key is in wrong hands, such as 2026-01-31T12:00:00Z or 24h; without it, from the start
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Revokes the key, and the keys that were made with it since then, for good
    #[arg(long)]
    revoke: bool,
}

/// Events of one kind in a report at most. `audit export --key` has them all.
const MOST_EVENTS: usize = 1_000;
/// Why the keys are revoked, for the audit trail.
const REASON: &str = "in wrong hands";

/// What a report has of keys that were made with the key, and of networks.
struct Found {
    made: Vec<Value>,
    /// How many there are, if these are not all.
    total: u64,
    /// Null of a server, where `events_of_it` has first uses by network.
    networks: Value,
}

impl Incident {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let id = self.key.id(work).await?;
        let path = format!("/keys/{id}");
        let mut revoked = Vec::new();
        if self.revoke {
            let key = work.api.call(Method::GET, &path, Value::Null).await?;
            let what = format!(
                "Revoke \"{}\" ({id}) and the keys that were made with it, for good",
                crate::text::shown(&cell(&key["name"]))
            );
            work.confirm(&what)?;
            revoked = match work.api.here() {
                Some(keys) => here::revoke(keys, &id, self.since).await?,
                None => there::revoke(work, &key, self.since).await?,
            };
        }
        // As it is after a revoke.
        let key = work.api.call(Method::GET, &path, Value::Null).await?;
        let found = match work.api.here() {
            Some(keys) => here::found(keys, &id, self.since).await?,
            None => there::found(work, &key, self.since).await?,
        };
        let (about, about_is_whole) = events(work, &key, &format!("key={id}"), self.since).await?;
        let (by, by_is_whole) = events(
            work,
            &key,
            &format!("actor={}", encoded(&format!("key:{id}"))),
            self.since,
        )
        .await?;
        let report = json!({
            "key": without_secrets(&key),
            "uses": uses(&key, &found.networks),
            "revoked_now": revoked,
            "is_whole": about_is_whole && by_is_whole && found.total == found.made.len() as u64,
            "made_with_it": found.made,
            "events_by_it": by,
            "events_of_it": about,
        });
        work.output.show(&report, |report| text(report, found.total))
    }
}

/// What the API says of the key itself; what it says of its secrets is in [`uses`].
fn without_secrets(key: &Value) -> Value {
    let mut key = key.clone();
    if let Some(members) = key.as_object_mut() {
        members.remove("secrets");
    }
    key
}

fn uses(key: &Value, networks: &Value) -> Value {
    let secrets = key["secrets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = |member: &str| {
        secrets
            .iter()
            .filter_map(|secret| secret[member].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    json!({
        "requests": secrets.iter().filter_map(|secret| secret["requests"].as_u64()).sum::<u64>(),
        "last_used_at": all("last_used_at").into_iter().max(),
        "last_addresses": all("last_address"),
        "networks": networks,
    })
}

/// Events, and whether these are all.
async fn events(
    work: &Work,
    key: &Value,
    which: &str,
    since: Option<Timestamp>,
) -> Result<(Vec<Value>, bool), Failure> {
    let since = since.map_or_else(String::new, |since| format!("&since={}", encoded(&since.to_string())));
    let query = |organization: &str| format!("/audit?limit=200&organization={organization}&{which}{since}");
    let mut query_of_all = query("all");
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let path = match &after {
            None => query_of_all.clone(),
            Some(cursor) => format!("{query_of_all}&after={}", encoded(cursor)),
        };
        let page = match work.api.call(Method::GET, &path, Value::Null).await {
            // Events of all organizations are for operators. Others see those of their own, which is the key's.
            Err(Failure::Refused(_)) if after.is_none() && query_of_all == query("all") => {
                query_of_all = query(&cell(&key["organization_id"]));
                continue;
            }
            page => page?,
        };
        found.extend(page["items"].as_array().cloned().unwrap_or_default());
        after = page["next"].as_str().map(str::to_owned);
        match after {
            None => return Ok((found, true)),
            Some(_) if found.len() >= MOST_EVENTS => return Ok((found, false)),
            Some(_) => {}
        }
    }
}

fn text(report: &Value, made_in_all: u64) -> String {
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
    let mut made_text = match made.is_empty() {
        true => "none".to_owned(),
        false => table(
            &["id", "name", "status"],
            made.iter()
                .map(|key| vec![cell(&key["id"]), cell(&key["name"]), cell(&key["status"])]),
        ),
    };
    if made_in_all > made.len() as u64 {
        made_text.push_str(&format!("\nand {} more", made_in_all - made.len() as u64));
    }
    let revoked = match list("revoked_now").len() {
        0 => String::new(),
        keys => format!("\nRevoked now: {keys} keys.\n"),
    };
    let more = match report["is_whole"].as_bool() {
        Some(false) => "\n\nThere is more: `api-keys audit export --key ID`, where the database is, has all events.",
        _ => "",
    };
    format!(
        "{}\n{revoked}\nUses\n{}\n\nKeys that were made with it\n{made_text}\n\nWhat was done with it\n{}\n\nWhat was done to it\n{}{more}",
        record(&report["key"]),
        record(&report["uses"]),
        events("events_by_it"),
        events("events_of_it"),
    )
}
