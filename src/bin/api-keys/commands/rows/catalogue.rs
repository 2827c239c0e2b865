//! Plans, roles and known scopes, which hold for all organizations.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{Most, call, changes, delete, limits, list, list_rows, members, show, text};
use crate::api::items;
use crate::failure::Failure;
use crate::output::cell;
use crate::text::encoded;
use crate::work::Work;

/// Plans.
#[derive(Debug, Subcommand)]
pub(crate) enum Plan {
    /// Creates a plan
    Create(PlanFields),
    /// Lists plans
    List(Most),
    /// Shows a plan
    Show(Named),
    /// Changes a plan, for all who have it
    Update(PlanFields),
    /// Deletes a plan that nobody has
    Delete(Named),
}

/// Roles.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Creates a role
    Create(RoleFields),
    /// Lists roles
    List(Most),
    /// Shows a role
    Show(Named),
    /// Changes a role, for all keys that have it
    Update(RoleFields),
    /// Deletes a role
    Delete(Named),
}

/// Known scopes. Once there is one, keys are given no others.
#[derive(Debug, Subcommand)]
pub(crate) enum Scope {
    /// Adds a scope
    Create(Described),
    /// Lists scopes
    List(Most),
    /// Changes what a scope is for
    Update(Described),
    /// Takes a scope out of the catalogue
    Delete(Named),
}

#[derive(Args, Debug)]
pub(crate) struct Named {
    /// Its name
    name: String,
}

#[derive(Args, Debug)]
pub(crate) struct PlanFields {
    /// Its name
    name: String,
    /// A rate limit of all keys of an organization together, such as requests=1000/1m
    #[arg(long, value_name = "LIMIT")]
    limit: Vec<String>,
    /// A rate limit of each key
    #[arg(long, value_name = "LIMIT")]
    key_limit: Vec<String>,
    /// How many active keys an organization may have
    #[arg(long, value_name = "NUMBER")]
    max_keys: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct RoleFields {
    /// Its name
    name: String,
    /// A scope that it gives, such as orders:read; may be given several times
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    scope: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Described {
    /// Its name, such as orders:read
    name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

impl Plan {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        match self {
            Self::Create(fields) => call(work, Method::POST, "/plans", fields.members(true)?.into()).await,
            Self::List(most) => {
                let columns = [
                    ("name", "name"),
                    ("limits", "limits"),
                    ("limits of a key", "key_limits"),
                    ("keys", "max_keys"),
                ];
                list_rows(work, "/plans", &[], most.limit, &columns).await
            }
            Self::Show(named) => show(work, &path(work, &named.name).await?).await,
            Self::Update(fields) => {
                let path = path(work, &fields.name).await?;
                call(work, Method::PATCH, &path, changes(fields.members(false)?)?).await
            }
            Self::Delete(named) => {
                let path = path(work, &named.name).await?;
                delete(work, "plan", &named.name, &path).await
            }
        }
    }
}

/// Plans have ids, since their names change.
async fn path(work: &Work, name: &str) -> Result<String, Failure> {
    if name.parse::<tower_api_key::key::PlanId>().is_ok() {
        return Ok(format!("/plans/{name}"));
    }
    let page = work
        .api
        .call(
            Method::GET,
            &format!("/plans?limit=200&name={}", encoded(name)),
            Value::Null,
        )
        .await?;
    match items(&page)?.iter().find(|plan| plan["name"] == name) {
        Some(plan) => Ok(format!("/plans/{}", cell(&plan["id"]))),
        None => Err(Failure::Refused(format!("there is no plan `{name}`"))),
    }
}

impl PlanFields {
    fn members(self, is_new: bool) -> Result<serde_json::Map<String, Value>, Failure> {
        Ok(members([
            ("name", is_new.then(|| self.name.into())),
            ("limits", limits(&self.limit)?),
            ("key_limits", limits(&self.key_limit)?),
            ("max_keys", self.max_keys.map(Value::from)),
        ]))
    }
}

impl Role {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        match self {
            Self::Create(role) => {
                let body = members([
                    ("name", Some(role.name.into())),
                    ("scopes", Some(json!(role.scope))),
                    ("description", text(role.description)),
                ]);
                call(work, Method::POST, "/roles", body.into()).await
            }
            Self::List(most) => {
                let columns = ["name", "scopes", "description"].map(|name| (name, name));
                list_rows(work, "/roles", &[], most.limit, &columns).await
            }
            Self::Show(named) => show(work, &named.path("roles")).await,
            Self::Update(role) => {
                let path = format!("/roles/{}", encoded(&role.name));
                let body = members([("scopes", list(role.scope)), ("description", text(role.description))]);
                call(work, Method::PATCH, &path, changes(body)?).await
            }
            Self::Delete(named) => delete(work, "role", &named.name, &named.path("roles")).await,
        }
    }
}

impl Scope {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        match self {
            Self::Create(scope) => {
                let body = members([
                    ("scope", Some(scope.name.into())),
                    ("description", text(scope.description)),
                ]);
                call(work, Method::POST, "/scopes", body.into()).await
            }
            Self::List(most) => {
                let columns = ["scope", "description"].map(|name| (name, name));
                list_rows(work, "/scopes", &[], most.limit, &columns).await
            }
            Self::Update(scope) => {
                let path = format!("/scopes/{}", encoded(&scope.name));
                let body = members([("description", text(scope.description))]);
                call(work, Method::PATCH, &path, changes(body)?).await
            }
            Self::Delete(named) => delete(work, "scope", &named.name, &named.path("scopes")).await,
        }
    }
}

impl Named {
    fn path(&self, rows: &str) -> String {
        format!("/{rows}/{}", encoded(&self.name))
    }
}
