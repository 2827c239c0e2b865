//! Checks of a key, explained.

use std::io::{IsTerminal, Read, Write};
use std::net::IpAddr;

use clap::Args;
use serde_json::{Value, json};
use tower_api_key::key::{KeyFormat, Scope};
use tower_api_key::{PresentedKey, Rejection, RejectionKind};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::{record, table};

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
    let database = super::database(global, "verify")?;
    let output = super::output(global);
    let text = read_key()?;
    let keys = database.keys(global).await?;
    let mut key = PresentedKey::new(text.as_bytes()).client_address(verify.ip);
    if let Some(scope) = &verify.scope {
        key = key.require_scope(scope);
    }
    if let Some(environment) = &verify.environment {
        key = key.only_environment(environment);
    }
    let checked = keys.authenticator().check(key).await;
    let _ = keys.flush().await;
    let (is_valid, about) = match &checked {
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
    if matches!(&checked, Err(rejection) if rejection.kind() == RejectionKind::MalformedKey)
        && let Some(hint) = hint(&text)
    {
        about["hint"] = hint.into();
    }
    let steps = steps(checked.as_ref().err());
    let answer = json!({"valid": is_valid, "about": about, "steps": steps});
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

/// What is wrong with a key that was copied with more or less than the key.
fn hint(text: &str) -> Option<&'static str> {
    let is_key = |text: &str| KeyFormat::default().parse(text.as_bytes()).is_ok();
    let joined: String = text.split_whitespace().collect();
    let last = text.split_whitespace().next_back().unwrap_or_default();
    if is_key(text.trim_matches(['"', '\'', '`', '<', '>', ','])) {
        return Some("there are quotes or signs around the key: leave them out");
    }
    if is_key(last) {
        return Some("there is a scheme or another word before the key: leave it out");
    }
    if is_key(&joined) {
        return Some("there are spaces or line ends in the key: it was cut when it was copied");
    }
    None
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
