//! Plans, roles and known scopes, which hold for all organizations.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{call, changes, limits, list, members, pages, text};
use crate::api::items;
use crate::commands::Work;
use crate::failure::Failure;
use crate::output::{cell, table};
use crate::text::{encoded, shown};

/// Plans.
#[derive(Debug, Subcommand)]
pub(crate) enum Plan {
    /// Creates a plan
    Create(PlanFields),
    /// Lists plans
    List(All),
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
    List(All),
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
    List(All),
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
pub(crate) struct All {
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
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
    pub(super) async fn run(self, work: &Work) -> Result<(), Failure> {
        match self {
            Self::Create(fields) => call(work, Method::POST, "/plans", fields.members(true)?.into()).await,
            Self::List(all) => {
                pages(work, "/plans?limit=200", all.limit, |items| {
                    let rows = items.iter().map(|plan| {
                        vec![
                            cell(&plan["name"]),
                            cell(&plan["limits"]),
                            cell(&plan["key_limits"]),
                            cell(&plan["max_keys"]),
                        ]
                    });
                    table(&["name", "limits", "limits of a key", "keys"], rows)
                })
                .await
            }
            Self::Show(named) => call(work, Method::GET, &path(work, &named.name).await?, Value::Null).await,
            Self::Update(fields) => {
                let path = path(work, &fields.name).await?;
                call(work, Method::PATCH, &path, changes(fields.members(false)?)?).await
            }
            Self::Delete(named) => {
                let path = path(work, &named.name).await?;
                work.confirm(&format!("Delete the plan {}", shown(&named.name)))?;
                call(work, Method::DELETE, &path, Value::Null).await
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
    pub(super) async fn run(self, work: &Work) -> Result<(), Failure> {
        match self {
            Self::Create(role) => {
                let body = members([
                    ("name", Some(role.name.into())),
                    ("scopes", Some(json!(role.scope))),
                    ("description", text(role.description)),
                ]);
                call(work, Method::POST, "/roles", body.into()).await
            }
            Self::List(all) => {
                pages(work, "/roles?limit=200", all.limit, |items| {
                    let rows = items
                        .iter()
                        .map(|role| vec![cell(&role["name"]), cell(&role["scopes"]), cell(&role["description"])]);
                    table(&["name", "scopes", "description"], rows)
                })
                .await
            }
            Self::Show(named) => call(work, Method::GET, &named.path("roles"), Value::Null).await,
            Self::Update(role) => {
                let path = format!("/roles/{}", encoded(&role.name));
                let body = members([("scopes", list(role.scope)), ("description", text(role.description))]);
                call(work, Method::PATCH, &path, changes(body)?).await
            }
            Self::Delete(named) => named.delete(work, "roles", "role").await,
        }
    }
}

impl Scope {
    pub(super) async fn run(self, work: &Work) -> Result<(), Failure> {
        match self {
            Self::Create(scope) => {
                let body = members([
                    ("scope", Some(scope.name.into())),
                    ("description", text(scope.description)),
                ]);
                call(work, Method::POST, "/scopes", body.into()).await
            }
            Self::List(all) => {
                pages(work, "/scopes?limit=200", all.limit, |items| {
                    let rows = items
                        .iter()
                        .map(|scope| vec![cell(&scope["scope"]), cell(&scope["description"])]);
                    table(&["scope", "description"], rows)
                })
                .await
            }
            Self::Update(scope) => {
                let path = format!("/scopes/{}", encoded(&scope.name));
                let body = members([("description", text(scope.description))]);
                call(work, Method::PATCH, &path, changes(body)?).await
            }
            Self::Delete(named) => named.delete(work, "scopes", "scope").await,
        }
    }
}

impl Named {
    fn path(&self, rows: &str) -> String {
        format!("/{rows}/{}", encoded(&self.name))
    }

    async fn delete(self, work: &Work, rows: &str, row: &str) -> Result<(), Failure> {
        work.confirm(&format!("Delete the {row} {}", shown(&self.name)))?;
        call(work, Method::DELETE, &self.path(rows), Value::Null).await
    }
}
