//! Keys that should be looked at.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{cell, table};
use crate::text::{duration, encoded, minute};
use crate::work::{Work, whose};

/// Lists keys that should be looked at. Exit code 1 if there are some.
#[derive(Args, Debug)]
pub(crate) struct Hygiene {
    /// Keys of this organization, by its id or slug
    #[arg(long, short, value_name = "ORGANIZATION")]
    org: Option<String>,
    /// Keys that were not used for this time, in whole days
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90d")]
    unused_for: Duration,
}

const DAY: u64 = 86_400;

impl Hygiene {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let seconds = self.unused_for.as_secs();
        if seconds == 0 || !seconds.is_multiple_of(DAY) {
            return Err(Failure::Usage(
                "--unused-for must be whole days, such as 90d: uses are looked at by day".to_owned(),
            ));
        }
        let mut query = format!("/hygiene?unused_days={}", seconds / DAY);
        if let Some(organization) = whose(work, self.org.as_deref()).await? {
            query.push_str(&format!("&organization={organization}"));
        }
        let (mut found, mut looked_at, mut after) = (0, 0, None::<String>);
        loop {
            let path = match &after {
                None => query.clone(),
                Some(cursor) => format!("{query}&after={}", encoded(cursor)),
            };
            let page = work.api.call(Method::GET, &path, Value::Null).await?;
            let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            found += items.len();
            looked_at += page["looked_at"].as_u64().unwrap_or_default();
            match work.output.json {
                true => items.iter().try_for_each(|item| work.output.json(item))?,
                false if items.is_empty() => {}
                false => work.output.lines(&rows(items))?,
            }
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        match found {
            0 if work.output.json => Ok(()),
            0 => work
                .output
                .lines(&format!("{looked_at} active keys: nothing was found.")),
            _ => Err(Failure::Refused(format!(
                "{found} of {looked_at} active keys should be looked at"
            ))),
        }
    }
}

fn rows(items: &[Value]) -> String {
    let rows = items.iter().map(|item| {
        let findings = item["findings"].as_array().into_iter().flatten().map(sentence);
        vec![
            cell(&item["key_id"]),
            cell(&item["name"]),
            minute(&cell(&item["last_used_at"])),
            findings.collect::<Vec<_>>().join("; "),
        ]
    });
    table(&["id", "name", "last used", "findings"], rows)
}

fn sentence(finding: &Value) -> String {
    match finding["kind"].as_str().unwrap_or_default() {
        "no-end" => "never expires".to_owned(),
        "unused" => "not used for long".to_owned(),
        "never-used" => "never used".to_owned(),
        "unused-scopes" => format!("has scopes that it does not use: {}", cell(&finding["scopes"])),
        "crc" => format!(
            "has a checksum that anyone can compute, accepted until {}",
            minute(&cell(&finding["until"]))
        ),
        // Of a server that knows more.
        other => other.to_owned(),
    }
}
