//! Checks of a key, explained.

mod hint;

use std::io::{IsTerminal, Read, Write};
use std::net::IpAddr;

use clap::Args;
use serde_json::{Value, json};
use tower_api_key::key::{KeyFormat, Scope};
use tower_api_key::{PresentedKey, Rejection, RejectionKind};

use self::hint::hint;
use super::route::Route;
use crate::failure::Failure;
use crate::global::Global;
use crate::output::{record, table};
use crate::work::{database, output};

/// Checks a key as a service would, and explains each step.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// The address that the request would come from
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// The scope that the route would ask for
    #[arg(long)]
    scope: Option<Scope>,
    /// The environment that the service would accept
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// The method of a request to the management API: what its route asks for is checked too
    #[arg(long, requires = "path", conflicts_with = "scope")]
    method: Option<String>,
    /// The path of that request, such as /keys or /api/v1/auth/keys
    #[arg(long, requires = "method")]
    path: Option<String>,
}

/// The steps of a check, in their order, with the rejections that each may end with.
const STEPS: &[(&str, &[RejectionKind])] = &[
    (
        "the text is a key of a known format, with the right checksum",
        &[RejectionKind::MalformedKey],
    ),
    ("a record has its lookup", &[RejectionKind::UnknownKey]),
    ("the secret is the record's", &[RejectionKind::WrongSecret]),
    ("it is no canary", &[RejectionKind::CanaryUsed]),
    ("it is not revoked", &[RejectionKind::KeyRevoked]),
    ("it is not disabled", &[RejectionKind::KeyDisabled]),
    ("it has not expired", &[RejectionKind::KeyExpired]),
    ("its organization is active", &[RejectionKind::OrganizationInactive]),
    ("its user is active", &[RejectionKind::UserDisabled]),
    ("its environment is accepted", &[RejectionKind::EnvironmentNotAllowed]),
    ("it may be used from this address", &[RejectionKind::NetworkNotAllowed]),
    ("it has the scope", &[RejectionKind::InsufficientScope]),
    ("it is within its limits", &[RejectionKind::RateLimited]),
];

pub(crate) async fn run(global: &Global, verify: Verify) -> Result<(), Failure> {
    if global.server.is_some() {
        return Err(Failure::Usage(
            "a server says of no text whether it is a key, so that nobody can ask it for others: run verify where the database is, without \
             --server. Whether the key for the server works, any command over it says"
                .to_owned(),
        ));
    }
    let database = database(global, "verify")?;
    let output = output(global);
    let text = read_key()?;
    let keys = database.keys(global).await?;
    let mut key = PresentedKey::new(text.as_bytes()).client_address(verify.ip);
    if let Some(scope) = &verify.scope {
        key = key.require_scope(scope);
    }
    if let Some(environment) = &verify.environment {
        key = key.only_environment(environment);
    }
    let route = match (&verify.method, &verify.path) {
        (Some(method), Some(path)) => Some(Route::find(&keys, method, path).await?),
        _ => None,
    };
    // Not flushed: it is no use of the key, and the address no place that it was used from.
    let checked = keys.authenticator().check(key).await;
    if let Err(rejection) = &checked
        && is_no_answer(rejection.kind())
    {
        return Err(Failure::Unavailable(format!(
            "the key cannot be checked: {}",
            rejection.detail()
        )));
    }
    let (mut is_valid, about) = match &checked {
        Ok(context) => (
            true,
            json!({
                "key": context.key_id().to_string(),
                "name": context.name(),
                "organization": context.organization().name,
                "organization_id": context.organization().id.to_string(),
                "user": context.user(),
                "scopes": context.scopes().to_string(),
                "environment": context.environment(),
                "expires_at": context.expires_at().map(|at| at.to_string()),
            }),
        ),
        Err(rejection) => (
            false,
            json!({
                "reason": rejection.kind().as_str(),
                "detail": rejection.detail(),
                "key": rejection.key_id().map(|id| id.to_string()),
                "organization_id": rejection.organization_id().map(|id| id.to_string()),
                "user": rejection.user(),
            }),
        ),
    };
    let mut about = about;
    let unbound = database.config().formats().cloned();
    let unbound = unbound.unwrap_or_else(|| KeyFormat::default().into());
    if matches!(&checked, Err(rejection) if rejection.kind() == RejectionKind::MalformedKey)
        && let Some(hint) = hint(keys.formats(), &unbound, &text)
    {
        about["hint"] = hint.into();
    }
    let mut steps = steps(checked.as_ref().err());
    let mut answer = json!({"about": about});
    if let Some(route) = &route {
        answer["route"] = route.json();
        match &checked {
            Ok(context) => {
                let (step, passed) = route.step(context);
                is_valid = passed;
                steps.push(json!({"step": step, "passed": passed}));
            }
            Err(_) => steps.push(json!({"step": "it has what the route asks for", "passed": null})),
        }
    }
    answer["valid"] = is_valid.into();
    answer["steps"] = steps.clone().into();
    output.show(&answer, |answer| {
        let verdict = if is_valid {
            "The key is valid."
        } else {
            "The key is refused."
        };
        let rows = steps.iter().map(|step| {
            vec![
                step["passed"]
                    .as_bool()
                    .map_or("?", |passed| if passed { "ok" } else { "no" })
                    .to_owned(),
                step["step"].as_str().unwrap_or_default().to_owned(),
            ]
        });
        format!(
            "{verdict}\n\n{}\n\n{}",
            record(&answer["about"]),
            table(&["", "step"], rows)
        )
    })?;
    match is_valid {
        true => Ok(()),
        false => Err(Failure::Refused("the key is refused".to_owned())),
    }
}

/// Each step with whether it was passed; null for those that were not reached.
fn steps(rejection: Option<&Rejection>) -> Vec<Value> {
    let failed = rejection.map(|rejection| STEPS.iter().position(|(_, kinds)| kinds.contains(&rejection.kind())));
    let steps = STEPS.iter().enumerate().map(|(index, (step, _))| {
        let passed = match failed {
            None => Some(true),
            // It failed for another reason, such as a database that is away.
            Some(None) => None,
            Some(Some(failed)) if index < failed => Some(true),
            Some(Some(failed)) if index == failed => Some(false),
            Some(Some(_)) => None,
        };
        json!({"step": step, "passed": passed})
    });
    steps.collect()
}

/// Whether it says nothing of the key: the database did not answer.
fn is_no_answer(kind: RejectionKind) -> bool {
    matches!(
        kind,
        RejectionKind::StoreUnavailable | RejectionKind::NotConfirmed | RejectionKind::Busy
    )
}

/// From standard input, or from a prompt that shows nothing. Never from the arguments, which others see.
fn read_key() -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        write!(std::io::stderr(), "Key: ")?;
        return Ok(rpassword::read_password()?.trim().to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(LONGEST_INPUT)
        .read_to_string(&mut text)
        .map_err(|error| Failure::Usage(format!("standard input is no text: {error}")))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    match text.is_empty() {
        true => Err(Failure::Usage("there is no key on standard input".to_owned())),
        false => Ok(text.to_owned()),
    }
}

const LONGEST_INPUT: u64 = 64 * 1024;
