//! Organizations, and their numbers.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{Most, call, changes, limits, list, list_rows, members, show, text};
use crate::failure::Failure;
use crate::output::{cell, record};
use crate::text::{duration, encoded};
use crate::work::{Work, organization_id, whose};

/// Organizations.
#[derive(Debug, Subcommand)]
pub(crate) enum Org {
    /// Creates an organization
    Create(Create),
    /// Lists organizations
    List(List),
    /// Shows an organization
    Show(One),
    /// Changes an organization
    Update(Update),
    /// Stops all keys of an organization until it is activated again
    Deactivate(Deactivate),
    /// Activates an organization
    Activate(One),
    /// Gives an organization a plan, or takes it away
    Plan(SetPlan),
    /// Shows or sets what keys of an organization may be
    Policy(Policy),
    /// Deletes an organization with its keys and users, for good
    Delete(Delete),
}

#[derive(Args, Debug)]
pub(crate) struct One {
    /// The organization, by its id or slug
    #[arg(value_name = "ORGANIZATION")]
    org: String,
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Its name
    name: String,
    /// What stands for it in commands and URLs; made from the name without it
    #[arg(long)]
    slug: Option<String>,
    /// Whom to write to
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Its plan, by its name
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    #[command(flatten)]
    bounds: Bounds,
}

#[derive(Args, Debug)]
pub(crate) struct Bounds {
    /// A rate limit of all its keys together, such as requests=1000/1m
    #[arg(long, value_name = "LIMIT")]
    limit: Vec<String>,
    /// A rate limit of each of its keys
    #[arg(long, value_name = "LIMIT")]
    key_limit: Vec<String>,
    /// How many active keys it may have
    #[arg(long, value_name = "NUMBER")]
    max_keys: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Those whose names begin so
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// active or inactive
    #[arg(long)]
    status: Option<String>,
    #[command(flatten)]
    most: Most,
}

#[derive(Args, Debug)]
pub(crate) struct Update {
    #[command(flatten)]
    org: One,
    /// A new name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Another address
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    #[command(flatten)]
    bounds: Bounds,
}

#[derive(Args, Debug)]
pub(crate) struct Deactivate {
    #[command(flatten)]
    org: One,
    /// Why, for the audit trail
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Args, Debug)]
pub(crate) struct SetPlan {
    #[command(flatten)]
    org: One,
    /// The plan, by its name
    #[arg(required_unless_present = "none")]
    plan: Option<String>,
    /// Takes the plan away
    #[arg(long, conflicts_with = "plan")]
    none: bool,
}

/// What keys may be. Without options it is shown.
#[derive(Args, Debug)]
pub(crate) struct Policy {
    #[command(flatten)]
    org: One,
    /// The longest life of a key, such as 365d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    longest_life: Option<std::time::Duration>,
    /// The life of a key for which none is asked
    #[arg(long, value_name = "TIME", value_parser = duration)]
    default_life: Option<std::time::Duration>,
    /// Refuses keys without an end
    #[arg(long)]
    requires_expiry: bool,
    /// Refuses keys without networks
    #[arg(long)]
    requires_networks: bool,
    /// The scopes that keys can be given; all without it
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    grantable: Vec<String>,
    /// Begins with a policy that asks for nothing. Without it, what is not named stays
    #[arg(long)]
    clear: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Delete {
    #[command(flatten)]
    org: One,
    /// Why, for the audit trail
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// Numbers of keys.
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// Keys of this organization, by its id or slug
    #[arg(long, short, value_name = "ORGANIZATION")]
    org: Option<String>,
}

impl Org {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(work).await,
            Self::List(list) => list.run(work).await,
            Self::Show(one) => show(work, &one.path(work).await?).await,
            Self::Update(update) => update.run(work).await,
            Self::Deactivate(deactivate) => {
                let path = format!("{}/deactivate", deactivate.org.path(work).await?);
                call(work, Method::POST, &path, json!({"reason": deactivate.reason})).await
            }
            Self::Activate(one) => {
                let path = format!("{}/activate", one.path(work).await?);
                call(work, Method::POST, &path, Value::Null).await
            }
            Self::Plan(set) => {
                let path = format!("{}/plan", set.org.path(work).await?);
                let body = match set.plan {
                    Some(plan) => json!({"plan": plan}),
                    None => json!({"plan_id": null}),
                };
                call(work, Method::PUT, &path, body).await
            }
            Self::Policy(policy) => policy.run(work).await,
            Self::Delete(delete) => delete.run(work).await,
        }
    }
}

impl One {
    async fn path(&self, work: &Work) -> Result<String, Failure> {
        Ok(format!("/organizations/{}", organization_id(work, &self.org).await?))
    }
}

impl Bounds {
    fn members(self) -> Result<Vec<(&'static str, Option<Value>)>, Failure> {
        Ok(vec![
            ("limits", limits(&self.limit)?),
            ("key_limits", limits(&self.key_limit)?),
            ("max_keys", self.max_keys.map(Value::from)),
        ])
    }
}

impl Create {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let mut given = vec![
            ("name", Some(self.name.into())),
            ("slug", text(self.slug)),
            ("email", text(self.email)),
            ("plan", text(self.plan)),
        ];
        given.extend(self.bounds.members()?);
        call(work, Method::POST, "/organizations", members(given).into()).await
    }
}

impl List {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let filters = [("name", self.name.as_deref()), ("status", self.status.as_deref())];
        let columns = ["id", "slug", "name", "status"].map(|name| (name, name));
        let columns = [&columns[..], &[("created", "created_at")]].concat();
        list_rows(work, "/organizations", &filters, self.most.limit, &columns).await
    }
}

impl Update {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let path = self.org.path(work).await?;
        let mut given = vec![("name", text(self.name)), ("email", text(self.email))];
        given.extend(self.bounds.members()?);
        call(work, Method::PATCH, &path, changes(members(given))?).await
    }
}

impl Policy {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let organization = self.org.path(work).await?;
        let path = format!("{organization}/policy");
        let given = members([
            ("longest_life", self.longest_life.map(|life| life.as_secs().into())),
            ("default_life", self.default_life.map(|life| life.as_secs().into())),
            ("requires_expiry", self.requires_expiry.then_some(true.into())),
            ("requires_networks", self.requires_networks.then_some(true.into())),
            ("grantable", list(self.grantable)),
        ]);
        if given.is_empty() && !self.clear {
            return call(work, Method::GET, &path, Value::Null).await;
        }
        // A policy is replaced as a whole: what is not named would be lost, such as that keys must end.
        let mut row = work.api.call(Method::GET, &organization, Value::Null).await?;
        let mut policy = match (self.clear, row["policy"].take()) {
            (false, Value::Object(policy)) => policy,
            _ => serde_json::Map::new(),
        };
        policy.extend(given);
        let set = work
            .api
            .change(Method::PUT, &path, policy.into(), &row["revision"])
            .await?;
        work.output.show(&set, record)
    }
}

impl Delete {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let path = self.org.path(work).await?;
        let org = work.api.call(Method::GET, &path, Value::Null).await?;
        let preview = work
            .api
            .call(Method::GET, &format!("{path}/deletion"), Value::Null)
            .await?;
        let name = crate::text::shown(&cell(&org["name"]));
        let what = format!("{}\nDelete \"{name}\" with all of these, for good", record(&preview));
        work.confirm(&what)?;
        let path = format!("{path}?confirm={}", encoded(&cell(&org["slug"])));
        call(work, Method::DELETE, &path, json!({"reason": self.reason})).await
    }
}

impl Stats {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        let path = match whose(work, self.org.as_deref()).await? {
            Some(organization) => format!("/statistics?organization={organization}"),
            None => "/statistics".to_owned(),
        };
        call(work, Method::GET, &path, Value::Null).await
    }
}
