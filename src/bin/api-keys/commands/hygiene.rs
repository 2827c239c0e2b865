//! Keys that should be looked at.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tower_api_key::{Finding, Hygiene as Request};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::{cell, table};
use crate::text::{duration, minute};

/// Lists keys that should be looked at. Exit code 1 if there are some.
#[derive(Args, Debug)]
pub(crate) struct Hygiene {
    /// Keys of this organization, by its id or slug
    #[arg(long, short, value_name = "ORGANIZATION")]
    org: Option<String>,
    /// Keys that were not used for this time
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90d")]
    unused_for: Duration,
}

pub(crate) async fn run(global: &Global, hygiene: Hygiene) -> Result<(), Failure> {
    let output = super::output(global);
    let keys = super::database(global, "hygiene")?.keys(global).await?;
    let mut request = match &hygiene.org {
        Some(organization) => Request::of(super::organization_here(&keys, organization).await?),
        None => Request::of_all(),
    };
    let (mut found, mut looked_at) = (0, 0);
    loop {
        let page = keys.hygiene(request.clone().unused_for(hygiene.unused_for)).await?;
        looked_at += page.looked_at;
        found += page.items.len();
        let items: Vec<Value> = page
            .items
            .iter()
            .map(|item| {
                json!({
                    "id": item.key.record.id.to_string(),
                    "name": item.key.record.name,
                    "organization_id": item.key.record.organization_id.to_string(),
                    "last_used_at": item.last_used_at.map(|at| at.to_string()),
                    "findings": item.findings.iter().map(sentence).collect::<Vec<_>>(),
                })
            })
            .collect();
        match output.json {
            true => items.iter().try_for_each(|item| output.json(item))?,
            false if items.is_empty() => {}
            false => output.lines(&rows(&items))?,
        }
        match page.next {
            Some(next) => request = request.after(next),
            None => break,
        }
    }
    match found {
        0 if output.json => Ok(()),
        0 => output.lines(&format!("{looked_at} active keys: nothing was found.")),
        _ => Err(Failure::Refused(format!(
            "{found} of {looked_at} active keys should be looked at"
        ))),
    }
}

fn rows(items: &[Value]) -> String {
    let rows = items.iter().map(|item| {
        let findings = item["findings"].as_array().into_iter().flatten().map(cell);
        vec![
            cell(&item["id"]),
            cell(&item["name"]),
            minute(&cell(&item["last_used_at"])),
            findings.collect::<Vec<_>>().join("; "),
        ]
    });
    table(&["id", "name", "last used", "findings"], rows)
}

fn sentence(finding: &Finding) -> String {
    match finding {
        Finding::NoEnd => "never expires".to_owned(),
        Finding::Unused => "not used for long".to_owned(),
        Finding::NeverUsed => "never used".to_owned(),
        Finding::UnusedScopes(scopes) => {
            let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
            format!("has scopes that it does not use: {}", scopes.join(" "))
        }
        Finding::Crc { until } => format!("has a checksum that anyone can compute, accepted until {until}"),
        other => format!("{other:?}"),
    }
}
