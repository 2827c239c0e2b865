//! Events as text, for other programs and for people.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::error::AuditError;
use crate::audit::{AuditAction, AuditEntry, AuditEvent};
use crate::issue::issuer::Issuer;
use crate::key::{OrganizationId, hex, is_hidden};
use crate::owner::private_file;
use crate::store::query::{AuditEvents, AuditFilter, TypedQuery};
use crate::store::{Commit, ManagedStore, StoreExt};

const COLUMNS: [&str; 13] = [
    "organization",
    "seq",
    "at",
    "commit",
    "actor_kind",
    "actor",
    "action",
    "key",
    "user",
    "details",
    "personal",
    "forgotten",
    "hash",
];

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// One JSON object on each line.
    JsonLines,
    /// CSV (RFC 4180) with a line of names. A field that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets a `'`
    /// in front, since spreadsheets would run it as a formula.
    Csv,
    /// CSV without those marks, for programs.
    PlainCsv,
}

impl<S: ManagedStore> Issuer<S> {
    /// Writes all events of the audit trail that the query selects, whatever its page is. Returns how many.
    ///
    /// Who takes the trail away is in it: an event `audit.export_started` says which events are asked for, before the first one is
    /// written, and `audit.exported` how many were written, also of an export that failed. One without the other is an export that
    /// was cut off. They are in the chain of the organization that the query is about, or else in that of the system.
    ///
    /// ```
    /// use tower_api_key::{ApiKeys, ExportFormat};
    /// use tower_api_key::key::Actor;
    /// use tower_api_key::store::query::AuditEvents;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = ApiKeys::open("memory:").await?;
    /// let alice = keys.issuer().acting_as(Actor::user("alice"));
    /// let acme = alice.create_organization("acme").await?;
    /// let mut out = Vec::new();
    /// alice.export_audit(AuditEvents::of(acme.id), ExportFormat::JsonLines, &mut out).await?;
    /// assert!(String::from_utf8(out)?.contains(r#""action":"organization.created""#));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the store and of the writer.
    pub async fn export_audit(
        &self,
        events: AuditEvents,
        format: ExportFormat,
        out: &mut (impl Write + Send),
    ) -> Result<u64, AuditError> {
        let filter = events.into_filter();
        let asked = self.asked_for(&filter, format).await?;
        let started = self.export_event(&asked, AuditAction::AUDIT_EXPORT_STARTED);
        self.commit(Commit::new().audit(started)).await?;
        let mut pages = Pages::of(self, filter).await?;
        let written = self.write_pages(&mut pages, format, out).await;
        let ended = self.export_event(&asked, AuditAction::AUDIT_EXPORTED);
        let ended = ended.detail("events", pages.written.to_string());
        let ended = ended.detail("is_whole", written.is_ok().to_string());
        let noted = self.commit(Commit::new().audit(ended)).await;
        written?;
        noted?;
        Ok(pages.written)
    }

    /// [`export_audit`](Self::export_audit) into a new file with mode 600.
    ///
    /// # Errors
    /// Those of the store. [`File`](super::AuditErrorKind::File) when the file is there already, even as a link, or cannot be
    /// written; what was written of it is removed.
    pub async fn export_audit_file(
        &self,
        events: AuditEvents,
        format: ExportFormat,
        path: impl AsRef<Path>,
    ) -> Result<u64, AuditError> {
        let path = path.as_ref();
        let mut file = private_file::create(path).map_err(|error| AuditError::file(path, error))?;
        let written = match self.export_audit(events, format, &mut file).await {
            Ok(events) => synced(&file)
                .map(|()| events)
                .map_err(|error| AuditError::file(path, error)),
            Err(error) => Err(error),
        };
        if written.is_err() {
            let _ = std::fs::remove_file(path);
        }
        written
    }

    async fn write_pages(
        &self,
        pages: &mut Pages,
        format: ExportFormat,
        out: &mut (impl Write + Send),
    ) -> Result<(), AuditError> {
        let failed = |error| AuditError::file(Path::new("the export"), error);
        out.write_all(start(format).as_bytes()).map_err(failed)?;
        while let Some((text, events)) = pages.next(self, format).await? {
            out.write_all(text.as_bytes()).map_err(failed)?;
            pages.written += events;
        }
        Ok(())
    }

    async fn asked_for(&self, filter: &AuditFilter, format: ExportFormat) -> Result<Asked, AuditError> {
        // Each field is named, so that a new one is not forgotten.
        let AuditFilter {
            organization,
            commit,
            key,
            actor,
            action,
            from,
            until,
        } = filter;
        let chain = match *organization {
            Some(id) => self.store.get(id).await?.map(|found| found.id),
            None => None,
        };
        let elsewhere = organization.filter(|_| chain.is_none());
        let details = [
            ("organization", elsewhere.map(|id| id.to_string())),
            ("commit", commit.map(|id| id.to_string())),
            ("key", key.map(|id| id.to_string())),
            ("actor", actor.as_ref().map(ToString::to_string)),
            ("action", action.as_ref().map(ToString::to_string)),
            ("since", from.map(|time| time.to_string())),
            ("until", until.map(|time| time.to_string())),
            ("format", Some(format.as_str().to_owned())),
        ];
        let details = details.into_iter().filter_map(|(name, text)| Some((name, text?)));
        Ok(Asked {
            chain: chain.unwrap_or(uuid::Uuid::nil().into()),
            details: details.collect(),
        })
    }

    fn export_event(&self, asked: &Asked, action: AuditAction) -> AuditEvent {
        let event = self.event(asked.chain, action);
        let details = asked.details.iter();
        details.fold(event, |event, (name, text)| event.detail(*name, text.as_str()))
    }
}

/// What an export is asked for.
struct Asked {
    /// Whose chain says so: the system's for an organization that is not there, or not any more, since its own has ended.
    chain: OrganizationId,
    details: Vec<(&'static str, String)>,
}

impl ExportFormat {
    fn as_str(self) -> &'static str {
        match self {
            Self::JsonLines => "json_lines",
            Self::Csv => "csv",
            Self::PlainCsv => "plain_csv",
        }
    }
}

fn synced(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// The pages of a list, one after the other.
struct Pages {
    next: Option<AuditEvents>,
    all: AuditEvents,
    written: u64,
}

impl Pages {
    async fn of<S: ManagedStore>(issuer: &Issuer<S>, filter: AuditFilter) -> Result<Self, AuditError> {
        let key = issuer
            .secrets
            .cursor_key(issuer.store.unbounded(), &issuer.clock)
            .await?;
        let all = AuditEvents::from(filter).page(1000).with_cursor_key(&key);
        Ok(Self {
            next: Some(all.clone()),
            all,
            written: 0,
        })
    }

    /// The text of the next page, and how many events it has.
    async fn next<S: ManagedStore>(
        &mut self,
        issuer: &Issuer<S>,
        format: ExportFormat,
    ) -> Result<Option<(String, u64)>, AuditError> {
        let Some(query) = self.next.take() else { return Ok(None) };
        let page = issuer.store.get(query).await?;
        self.next = page.next.map(|cursor| self.all.clone().after(cursor));
        let mut text = String::new();
        for entry in &page.items {
            match format {
                ExportFormat::JsonLines => push_json(&mut text, entry),
                ExportFormat::Csv => push_csv(&mut text, &csv_fields(entry), true),
                ExportFormat::PlainCsv => push_csv(&mut text, &csv_fields(entry), false),
            }
        }
        Ok(Some((text, page.items.len() as u64)))
    }
}

fn start(format: ExportFormat) -> String {
    let mut text = String::new();
    if format != ExportFormat::JsonLines {
        push_csv(&mut text, &COLUMNS.map(str::to_owned), false);
    }
    text
}

fn push_json(text: &mut String, entry: &AuditEntry) {
    let fields = csv_fields(entry);
    text.push('{');
    for (index, (name, value)) in COLUMNS.iter().zip(&fields).enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_string(text, name);
        text.push(':');
        match *name {
            "seq" | "details" | "personal" | "forgotten" => text.push_str(value),
            "key" | "user" if value.is_empty() => text.push_str("null"),
            _ => push_string(text, value),
        }
    }
    text.push_str("}\n");
}

fn csv_fields(entry: &AuditEntry) -> [String; COLUMNS.len()] {
    let event = &entry.event;
    [
        event.organization_id.to_string(),
        entry.seq.to_string(),
        event.at.to_string(),
        entry.commit.to_string(),
        event.actor.kind().as_str().to_owned(),
        event.actor.id().to_owned(),
        event.action.as_str().to_owned(),
        event.key_id.map(|id| id.to_string()).unwrap_or_default(),
        event.user.as_ref().map(|user| user.to_string()).unwrap_or_default(),
        object(event.details.iter().map(|(name, value)| (&**name, &**value))),
        object(event.personal.iter()),
        event.personal.are_forgotten().to_string(),
        hex::encode(&entry.hash),
    ]
}

fn object<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in pairs.enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_string(&mut text, name);
        text.push(':');
        push_string(&mut text, value);
    }
    text.push('}');
    text
}

/// Everything that a terminal or a reader of lines could take for something else is escaped.
fn push_string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if is_hidden(c) => {
                // Writing into a string does not fail.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

fn push_csv<const N: usize>(text: &mut String, fields: &[String; N], is_guarded: bool) {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let mark = if is_guarded && is_formula { "'" } else { "" };
        match field.contains(['"', ',', '\n', '\r']) {
            true => {
                let _ = write!(text, "\"{mark}{}\"", field.replace('"', "\"\""));
            }
            false => {
                let _ = write!(text, "{mark}{field}");
            }
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_marked_and_everything_else_is_as_it_was() {
        for (field, expected) in [
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\"\r\n"),
            ("+1", "'+1\r\n"),
            ("-1", "'-1\r\n"),
            ("@SUM(A1)", "'@SUM(A1)\r\n"),
            ("\t=1", "'\t=1\r\n"),
            ("\r=1", "\"'\r=1\"\r\n"),
            ("a=1", "a=1\r\n"),
            (" =1", " =1\r\n"),
            ("'=1", "'=1\r\n"),
            ("a,b\nc", "\"a,b\nc\"\r\n"),
            ("", "\r\n"),
        ] {
            let mut text = String::new();
            push_csv(&mut text, &[field.to_owned()], true);
            assert_eq!(text, expected);
            let mut plain = String::new();
            push_csv(&mut plain, &[field.to_owned()], false);
            assert_eq!(plain.contains("'="), field.contains("'="), "{plain}");
        }
    }

    #[test]
    fn text_in_json_cannot_end_its_string_or_steer_a_terminal() {
        let mut text = String::new();
        push_string(&mut text, "a\"b\\c\n\u{1b}[2J\u{85}\u{202e}é");
        assert_eq!(text, r#""a\"b\\c\u000a\u001b[2J\u0085\u202eé""#);
    }
}
