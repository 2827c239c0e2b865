//! Users of an organization.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{Most, call, changes, delete, list_rows, members, show, text};
use crate::failure::Failure;
use crate::text::encoded;
use crate::work::{Work, organization_id};

/// Users of an organization.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Creates the row of a user
    Create(Create),
    /// Lists users
    List(List),
    /// Shows a user
    Show(One),
    /// Changes a user
    Update(Update),
    /// Stops all keys of a user until the user is enabled again
    Disable(Disable),
    /// Enables a user
    Enable(One),
    /// Deletes the row of a user
    Delete(One),
}

#[derive(Args, Debug)]
pub(crate) struct One {
    /// The id that the service uses
    id: String,
    #[command(flatten)]
    of: Of,
}

#[derive(Args, Debug)]
pub(crate) struct Of {
    /// The organization, by its id or slug; on a server, that of the key if it is left out
    #[arg(long, short, value_name = "ORGANIZATION")]
    org: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Fields {
    /// The name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The address
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    fields: Fields,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    of: Of,
    /// active or disabled
    #[arg(long)]
    status: Option<String>,
    #[command(flatten)]
    most: Most,
}

#[derive(Args, Debug)]
pub(crate) struct Update {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    fields: Fields,
}

#[derive(Args, Debug)]
pub(crate) struct Disable {
    #[command(flatten)]
    one: One,
    /// Why, for the audit trail
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl User {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        match self {
            Self::Create(create) => {
                let query = create.one.of.query(work).await?;
                let mut body = create.fields.members();
                body.insert("id".to_owned(), create.one.id.into());
                call(work, Method::POST, &format!("/users{query}"), body.into()).await
            }
            Self::List(list) => list.run(work).await,
            Self::Show(one) => show(work, &one.path(work, "").await?).await,
            Self::Update(update) => {
                let path = update.one.path(work, "").await?;
                call(work, Method::PATCH, &path, changes(update.fields.members())?).await
            }
            Self::Disable(disable) => {
                let path = disable.one.path(work, "/disable").await?;
                call(work, Method::POST, &path, json!({"reason": disable.reason})).await
            }
            Self::Enable(one) => call(work, Method::POST, &one.path(work, "/enable").await?, Value::Null).await,
            Self::Delete(one) => {
                let path = one.path(work, "").await?;
                delete(work, "user", &one.id, &path).await
            }
        }
    }
}

impl Of {
    async fn query(&self, work: &Work) -> Result<String, Failure> {
        let id = self.id(work).await?;
        Ok(id.map_or_else(String::new, |id| format!("?organization={id}")))
    }

    /// The organization; `None` for that of the caller's key.
    async fn id(&self, work: &Work) -> Result<Option<String>, Failure> {
        match &self.org {
            Some(org) => organization_id(work, org).await.map(Some),
            None if work.api.sees_all().await? => Err(Failure::Usage(
                "say whose user it is: --org ORGANIZATION, by its id or slug".to_owned(),
            )),
            None => Ok(None),
        }
    }
}

impl One {
    async fn path(&self, work: &Work, rest: &str) -> Result<String, Failure> {
        Ok(format!(
            "/users/{}{rest}{}",
            encoded(&self.id),
            self.of.query(work).await?
        ))
    }
}

impl Fields {
    fn members(self) -> serde_json::Map<String, Value> {
        members([("name", text(self.name)), ("email", text(self.email))])
    }
}

impl List {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let organization = self.of.id(work).await?;
        let filters = [
            ("organization", organization.as_deref()),
            ("status", self.status.as_deref()),
        ];
        let columns = ["id", "name", "email", "status"].map(|name| (name, name));
        let columns = [&columns[..], &[("created", "created_at")]].concat();
        list_rows(work, "/users", &filters, self.most.limit, &columns).await
    }
}
