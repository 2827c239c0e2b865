//! Commands on keys.

mod fields;
mod rotate;

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Value, json};
use tower_api_key::key::Timestamp;

use self::fields::Fields;
pub(super) use self::fields::limit;
pub(crate) use self::rotate::Rotate;
use super::pages::pages;
use crate::api::items;
use crate::failure::Failure;
use crate::key_out::KeyOut;
use crate::output::{cell, record, table};
use crate::text::{encoded, minute, shown};
use crate::work::{Work, whose};

/// A new key.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// What the key is for
    name: String,
    #[command(flatten)]
    fields: Fields,
    /// live or test, as the format has them
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Opens nothing, and raises an alarm when it is used
    #[arg(long)]
    canary: bool,
    #[command(flatten)]
    out: KeyOut,
}

/// Which keys.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Keys of this organization, by its id or slug
    #[arg(long, short, value_name = "ORGANIZATION")]
    org: Option<String>,
    /// Keys of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// active, disabled, revoked or expired
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Keys whose names begin so
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Keys whose lookups begin so, as the keys show them
    #[arg(long, value_name = "TEXT")]
    lookup: Option<String>,
    /// Keys with this label
    #[arg(long)]
    label: Option<String>,
    /// Keys of this environment
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

/// A key.
#[derive(Args, Debug)]
pub(crate) struct One {
    /// The key's id, or its lookup
    key: String,
}

/// Changes of a key.
#[derive(Args, Debug)]
pub(crate) struct Update {
    #[command(flatten)]
    key: One,
    /// A new name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[command(flatten)]
    fields: Fields,
    /// Takes the end away
    #[arg(long, conflicts_with_all = ["expires_in", "expires_at"])]
    no_expiry: bool,
}

/// Revokes keys.
#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// The keys' ids, or their lookups
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Why, for the audit trail
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Revokes the keys that were made with them, too, and those that were made with these
    #[arg(long)]
    descendants: bool,
}

impl Create {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let place = self.out.place(work.output)?;
        let made = self.make(work).await;
        match made {
            Ok(mut answer) => {
                place.put(&mut answer)?;
                issued(work, &answer)
            }
            Err(failure) => {
                place.give_up();
                Err(failure)
            }
        }
    }

    async fn make(self, work: &Work) -> Result<Value, Failure> {
        if self.fields.org.is_none() && work.api.sees_all().await? {
            return Err(Failure::Usage(
                "say whose key it is: --org ORGANIZATION, by its id or slug; `api-keys org list` lists them".to_owned(),
            ));
        }
        let mut body = self.fields.members(work).await?;
        body.insert("name".to_owned(), self.name.into());
        if let Some(environment) = self.environment {
            body.insert("environment".to_owned(), environment.into());
        }
        if self.canary {
            body.insert("canary".to_owned(), true.into());
        }
        work.api.call(Method::POST, "/keys", body.into()).await
    }
}

impl List {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let mut query = String::from("/keys?limit=200");
        let mut add = |name: &str, value: &str| query.push_str(&format!("&{name}={}", encoded(value)));
        if let Some(organization) = whose(work, self.org.as_deref()).await? {
            add("organization", &organization);
        }
        for (name, value) in [
            ("user", &self.user),
            ("status", &self.status),
            ("name", &self.name),
            ("lookup", &self.lookup),
            ("label", &self.label),
            ("environment", &self.environment),
        ] {
            if let Some(value) = value {
                add(name, value);
            }
        }
        pages(work, &query, self.limit.unwrap_or(usize::MAX), "keys", rows).await
    }
}

impl One {
    pub(crate) async fn show(self, work: &Work) -> Result<(), Failure> {
        show(work, self.call(work, Method::GET, "", Value::Null).await?)
    }

    pub(crate) async fn enable(self, work: &Work) -> Result<(), Failure> {
        show(work, self.call(work, Method::POST, "/enable", Value::Null).await?)
    }

    pub(crate) async fn disable(self, work: &Work) -> Result<(), Failure> {
        show(work, self.call(work, Method::POST, "/disable", Value::Null).await?)
    }

    async fn call(&self, work: &Work, method: Method, rest: &str, body: Value) -> Result<Value, Failure> {
        let id = self.id(work).await?;
        work.api.call(method, &format!("/keys/{id}{rest}"), body).await
    }

    /// The id: as given, or that of the key with this lookup. Never by a part of it: a variable that is not set, as the start of every
    /// lookup, would name a key that nobody meant.
    pub(super) async fn id(&self, work: &Work) -> Result<String, Failure> {
        let key = self.key.trim();
        if key.parse::<tower_api_key::key::KeyId>().is_ok() {
            return Ok(key.to_owned());
        }
        if key.is_empty() {
            return Err(Failure::Usage(
                "the key is named by its id or lookup, which is empty".to_owned(),
            ));
        }
        let mut path = format!("/keys?limit=200&lookup={}", encoded(key));
        if let Some(organization) = whose(work, None).await? {
            path.push_str(&format!("&organization={organization}"));
        }
        let page = work.api.call(Method::GET, &path, Value::Null).await?;
        let rows = items(&page)?;
        let has_it = |row: &&Value| {
            let mut secrets = row["secrets"].as_array().into_iter().flatten();
            secrets.any(|secret| secret["lookup"] == key)
        };
        match rows.iter().find(has_it) {
            Some(row) => Ok(cell(&row["id"])),
            None if rows.is_empty() => Err(Failure::Refused("no key has this id or lookup".to_owned())),
            None => Err(Failure::Refused(format!(
                "no key has this lookup, but {} begin so: `api-keys list --lookup {key}` lists them",
                rows.len()
            ))),
        }
    }
}

impl Update {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let mut body = self.fields.members(work).await?;
        if let Some(name) = self.name {
            body.insert("name".to_owned(), name.into());
        }
        if self.no_expiry {
            body.insert("expires_at".to_owned(), Value::Null);
        }
        if let Some(seconds) = body.remove("expires_in").as_ref().and_then(Value::as_u64) {
            let at = Timestamp::now().after(Duration::from_secs(seconds));
            body.insert("expires_at".to_owned(), at.to_string().into());
        }
        if body.is_empty() {
            return Err(Failure::Usage(
                "there is nothing to change: give at least one option".to_owned(),
            ));
        }
        show(work, self.key.call(work, Method::PATCH, "", body.into()).await?)
    }
}

impl Revoke {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let mut ids = Vec::new();
        let mut names = Vec::new();
        // All are looked up before the first is revoked: a mistyped one stops the command while nothing has changed.
        for key in self.keys {
            let id = One { key }.id(work).await?;
            let key = work.api.call(Method::GET, &format!("/keys/{id}"), Value::Null).await?;
            names.push(format!("\"{}\" ({id})", shown(&cell(&key["name"]))));
            ids.push(id);
        }
        let with = match (self.descendants, ids.len()) {
            (false, _) => "",
            (true, 1) => " and all keys that were made with it",
            (true, _) => " and all keys that were made with them",
        };
        work.confirm(&format!("Revoke {}{with}, for good", names.join(", ")))?;
        let mut body = json!({"reason": self.reason});
        if self.descendants {
            body["descendants"] = "revoke".into();
        }
        for id in ids {
            let revoked = work
                .api
                .call(Method::DELETE, &format!("/keys/{id}"), body.clone())
                .await?;
            show(work, revoked)?;
        }
        Ok(())
    }
}

fn show(work: &Work, key: Value) -> Result<(), Failure> {
    work.output.show(&key, record)
}

/// A new key, before all else.
fn issued(work: &Work, answer: &Value) -> Result<(), Failure> {
    work.output.show(answer, |answer| {
        let first = match (answer["key"].as_str(), answer["key_file"].as_str()) {
            // A server may send anything.
            (Some(key), _) => format!("{}\n\nThis is the only time that the key is shown.\n", shown(key)),
            (None, Some(file)) => format!("The key is in {file}.\n"),
            (None, None) => String::new(),
        };
        format!("{first}\n{}", record(&answer["record"]))
    })
}

fn rows(keys: &[Value]) -> String {
    let rows = keys.iter().map(|key| {
        let last_used = key["secrets"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|secret| cell(&secret["last_used_at"]))
            .max();
        vec![
            cell(&key["id"]),
            cell(&key["name"]),
            cell(&key["secrets"][0]["lookup"]),
            cell(&key["status"]),
            cell(&key["scopes"]),
            minute(&cell(&key["expires_at"])),
            minute(&last_used.unwrap_or_default()),
        ]
    });
    table(
        &["id", "name", "lookup", "status", "scopes", "expires", "last used"],
        rows,
    )
}
