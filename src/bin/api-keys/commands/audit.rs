//! The audit trail.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tower_api_key::audit::ChainProblem;
use tower_api_key::key::{KeyId, Timestamp};
use tower_api_key::store::query::AuditEvents;
use tower_api_key::{ApiKeys, AuditAnchors, AuditErrorKind, ExportFormat};

use crate::failure::Failure;
use crate::global::Global;
use crate::output::{cell, record, table};
use crate::text::{encoded, minute, moment};
use crate::work::{Work, database, host, organization_here, output, whose};

/// The audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Verifies every chain of events. Exit code 1 if one is not as it was made
    Verify(Verify),
    /// Writes numbers and hashes of the last events into a file, which must be kept where who can write the database cannot
    Anchor(Anchor),
    /// Exports events
    Export(Export),
    /// Lists events, the oldest first
    List(List),
}

/// Verifies the trail.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// A file of `audit anchor`, by which a trail that was cut off or made anew is found
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// The chain of this organization alone, by its id or slug
    #[arg(long, short, value_name = "ORGANIZATION")]
    org: Option<String>,
}

/// Anchors the trail.
#[derive(Args, Debug)]
pub(crate) struct Anchor {
    /// The file: made new for its owner alone, or replaced
    file: PathBuf,
}

/// Exports the trail.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// jsonl, csv, or plain-csv without the ' that keeps spreadsheets from running a field as a formula
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Writes to this new file, for its owner alone
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

/// Which events.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Of this organization, by its id or slug
    #[arg(long, short, value_name = "ORGANIZATION")]
    org: Option<String>,
    /// Of this key, by its id
    #[arg(long, value_name = "ID")]
    key: Option<KeyId>,
    /// Since this time, such as 2026-01-31T12:00:00Z or 24h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Until this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

/// Lists events.
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    which: Which,
    /// What was done, such as key.revoked
    #[arg(long)]
    action: Option<String>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    Jsonl,
    Csv,
    PlainCsv,
}

pub(crate) async fn run(global: &Global, audit: Audit) -> Result<(), Failure> {
    let keys = database(global, "audit")?.keys(global).await?;
    match audit {
        Audit::Verify(verify) => verify.run(global, &keys).await,
        Audit::Anchor(anchor) => anchor.run(global, &keys).await,
        Audit::Export(export) => export.run(global, &keys).await,
        // Over the API, where it is run.
        Audit::List(_) => Ok(()),
    }
}

impl Verify {
    pub(crate) async fn run(self, global: &Global, keys: &ApiKeys) -> Result<(), Failure> {
        let output = output(global);
        let anchors = match &self.anchor {
            // One that is not there would be as good as none.
            Some(path) if !path.exists() => {
                let sentence = format!("there is no file {}; `api-keys audit anchor` makes one", path.display());
                return Err(Failure::Usage(sentence));
            }
            Some(path) => AuditAnchors::read(path)?,
            None => AuditAnchors::default(),
        };
        let trail = keys.audit();
        let verified = match &self.org {
            Some(organization) => {
                let id = organization_here(keys, organization).await?;
                trail.verify_chain(id, &anchors).await
            }
            None => trail.verify(&anchors).await,
        };
        match verified {
            Ok(trail) => {
                let answer = json!({
                    "whole": true,
                    "chains": trail.chains,
                    "events": trail.entries,
                    "forgotten": trail.forgotten,
                    "anchors": anchors.len(),
                });
                output.show(&answer, |answer| format!("The trail is whole.\n\n{}", record(answer)))
            }
            Err(error) if error.kind() == AuditErrorKind::Broken => {
                let problems: Vec<Value> = error.problems().iter().map(problem).collect();
                let answer = json!({"whole": false, "problems": problems});
                output.show(&answer, |_| {
                    let rows = problems.iter().map(|problem| {
                        vec![
                            cell(&problem["organization_id"]),
                            cell(&problem["event"]),
                            cell(&problem["problem"]),
                        ]
                    });
                    table(&["organization", "event", "problem"], rows)
                })?;
                Err(Failure::Refused("the trail is not as it was made".to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn problem(problem: &ChainProblem) -> Value {
    json!({
        "organization_id": problem.organization_id.to_string(),
        "event": problem.seq,
        "problem": problem.to_string(),
    })
}

impl Anchor {
    pub(crate) async fn run(self, global: &Global, keys: &ApiKeys) -> Result<(), Failure> {
        let moved = keys.audit().anchor_file(&self.file).await?;
        let anchors = AuditAnchors::read(&self.file)?.len();
        let answer = json!({"file": self.file.display().to_string(), "chains": anchors, "moved": moved});
        output(global).show(&answer, record)
    }
}

impl Export {
    pub(crate) async fn run(self, global: &Global, keys: &ApiKeys) -> Result<(), Failure> {
        let mut events = match &self.which.org {
            Some(organization) => AuditEvents::of(organization_here(keys, organization).await?),
            None => AuditEvents::all(),
        };
        if let Some(key) = self.which.key {
            events = events.key(key);
        }
        if let Some(since) = self.which.since {
            events = events.since(since);
        }
        if let Some(until) = self.which.until {
            events = events.until(until);
        }
        let format = match self.format {
            Format::Jsonl => ExportFormat::JsonLines,
            Format::Csv => ExportFormat::Csv,
            Format::PlainCsv => ExportFormat::PlainCsv,
        };
        let host = host(keys);
        let Some(path) = self.out else {
            let mut out = BufWriter::new(io::stdout());
            host.export_audit(events, format, &mut out).await?;
            return Ok(out.flush()?);
        };
        let written = host.export_audit_file(events, format, &path).await?;
        let answer = json!({"file": path.display().to_string(), "events": written});
        output(global).show(&answer, record)
    }
}

impl List {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let mut query = String::from("/audit?limit=100");
        let mut add = |name: &str, value: &str| query.push_str(&format!("&{name}={}", encoded(value)));
        if let Some(organization) = whose(work, self.which.org.as_deref()).await? {
            add("organization", &organization);
        }
        if let Some(key) = self.which.key {
            add("key", &key.to_string());
        }
        if let Some(action) = &self.action {
            add("action", action);
        }
        if let Some(since) = self.which.since {
            add("since", &since.to_string());
        }
        if let Some(until) = self.which.until {
            add("until", &until.to_string());
        }
        super::pages::pages(work, &query, self.limit, "events", events).await
    }
}

fn events(items: &[Value]) -> String {
    let rows = items.iter().map(|event| {
        vec![
            minute(&cell(&event["at"])),
            cell(&event["action"]),
            cell(&event["actor"]),
            cell(&event["key_id"]),
            cell(&event["organization_id"]),
        ]
    });
    table(&["time", "action", "actor", "key", "organization"], rows)
}
