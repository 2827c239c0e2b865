//! Changes of many keys at once.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use tower_api_key::key::Timestamp;

use super::{members, text};
use crate::failure::Failure;
use crate::output::{cell, record, table};
use crate::text::{minute, moment};
use crate::work::{Work, organization_id};

/// Many keys at once: of a user, with a label, or made with a key. Shows first which ones, and changes exactly these.
#[derive(Debug, Subcommand)]
pub(crate) enum Bulk {
    /// Revokes them, for good
    Revoke(Selected),
    /// Disables them until the same selection is enabled
    Disable(Selected),
    /// Enables what the same selection has disabled
    Enable(Selected),
}

/// Which keys.
#[derive(Args, Debug)]
pub(crate) struct Selected {
    #[command(flatten)]
    which: Which,
    /// The organization, by its id or slug, or `all`; on a server, that of the key if it is left out
    #[arg(long, short, value_name = "ORGANIZATION")]
    org: Option<String>,
    /// Only those that were created since this time, such as 2026-01-31T12:00:00Z or 24h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Why, for the audit trail
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// Keys of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Keys with this label
    #[arg(long)]
    label: Option<String>,
    /// Keys that were made with this key, by its id
    #[arg(long, value_name = "ID")]
    created_by: Option<String>,
    /// The same, and the keys that were made with these, and so on
    #[arg(long, value_name = "ID")]
    descendants_of: Option<String>,
}

impl Bulk {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let (action, verb, selected) = match self {
            Self::Revoke(selected) => ("revoke", "Revoke, for good,", selected),
            Self::Disable(selected) => ("disable", "Disable", selected),
            Self::Enable(selected) => ("enable", "Enable", selected),
        };
        let organization = match selected.org.as_deref() {
            Some("all") => Some("all".to_owned()),
            Some(org) => Some(organization_id(work, org).await?),
            None if work.api.sees_all().await? => {
                return Err(Failure::Usage(
                    "say whose keys they are: --org ORGANIZATION, by its id or slug, or --org all".to_owned(),
                ));
            }
            None => None,
        };
        let selection = members([
            ("organization", text(organization)),
            ("user", text(selected.which.user)),
            ("label", text(selected.which.label)),
            ("created_by", text(selected.which.created_by)),
            ("descendants_of", text(selected.which.descendants_of)),
            ("since", selected.since.map(|since| since.to_string().into())),
        ]);
        let mut body = json!({"action": action, "selection": selection, "reason": selected.reason});
        let preview = work.api.call(Method::POST, "/keys/bulk", body.clone()).await?;
        let Some(digest) = preview["digest"].as_str() else {
            return Err(Failure::Refused(format!(
                "{} keys are too many for one change: select fewer, as with --since",
                cell(&preview["total"])
            )));
        };
        let names = match preview["keys"].as_array() {
            Some(keys) if !keys.is_empty() => rows(keys),
            _ => return Err(Failure::Refused("no key is selected".to_owned())),
        };
        work.confirm(&format!("{names}\n{verb} these {} keys", cell(&preview["total"])))?;
        body["digest"] = digest.into();
        let done = work.api.call(Method::POST, "/keys/bulk", body).await?;
        work.output.show(&done, |done| {
            let mut done = done.clone();
            if let Some(members) = done.as_object_mut() {
                members.remove("keys");
            }
            record(&done)
        })
    }
}

fn rows(keys: &[Value]) -> String {
    let rows = keys.iter().map(|key| {
        vec![
            cell(&key["id"]),
            cell(&key["name"]),
            cell(&key["status"]),
            minute(&cell(&key["last_used_at"])),
        ]
    });
    table(&["id", "name", "status", "last used"], rows)
}
