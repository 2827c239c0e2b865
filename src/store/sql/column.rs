//! Fields of records as text columns, and back.
//!
//! A row may have been written by another version, by hand, or by a broken disk. A value that is not understood is an
//! error; nothing has a default here.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::fault::InvalidColumn;
use crate::key::{
    Features, Holds, KeyStatus, Labels, LimitNames, Metadata, Networks, OrganizationStatus, Policy, RateLimit,
    RoleNames, Scope, ScopeSet, SecretForm, SecretState, UserStatus,
};

type Read<T> = Result<T, &'static str>;

pub(super) fn write_scopes(scopes: &ScopeSet) -> String {
    Value::from_iter(scopes.iter()).to_string()
}

pub(super) fn read_scopes(text: &str) -> Read<ScopeSet> {
    let scopes: Read<Vec<Scope>> = strings(text)?
        .iter()
        .map(|scope| scope.parse().map_err(|_| "invalid scope"))
        .collect();
    ScopeSet::new(scopes?).map_err(|_| "too many scopes")
}

/// The scopes of several roles: a list of lists.
pub(super) fn read_role_scopes(text: &str) -> Read<ScopeSet> {
    let Value::Array(roles) = json(text)? else {
        return Err("must be a JSON list");
    };
    roles.iter().try_fold(ScopeSet::default(), |all, scopes| {
        Ok(all.union(&read_scopes(&scopes.to_string())?))
    })
}

/// A set of names.
pub(super) fn write_names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    Value::from_iter(names).to_string()
}

pub(super) fn read_labels(text: &str) -> Read<Labels> {
    Labels::new(strings(text)?.iter().map(|name| &**name)).map_err(|_| "invalid labels")
}

pub(super) fn read_holds(text: &str) -> Read<Holds> {
    Holds::new(strings(text)?.iter().map(|name| &**name)).map_err(|_| "invalid holds")
}

pub(super) fn read_roles(text: &str) -> Read<RoleNames> {
    RoleNames::new(strings(text)?.iter().map(|name| &**name)).map_err(|_| "invalid roles")
}

pub(super) fn read_features(text: &str) -> Read<Features> {
    Features::new(strings(text)?.iter().map(|name| &**name)).map_err(|_| "invalid features")
}

pub(super) fn read_limit_names(text: &str) -> Read<LimitNames> {
    LimitNames::new(strings(text)?.iter().map(|name| &**name)).map_err(|_| "invalid names of limits")
}

/// What is not set is not written.
pub(in crate::store) fn write_policy(policy: &Policy) -> Result<String, InvalidColumn> {
    let mut object = Map::new();
    let mut life = |name: &str, life: Option<Duration>| {
        let Some(life) = life else { return Ok(()) };
        let millis = u64::try_from(life.as_millis()).map_err(|_| InvalidColumn {
            column: "organizations.policy",
            problem: "a life must be at most 584 million years",
        })?;
        object.insert(name.into(), millis.into());
        Ok(())
    };
    life("longest_life_ms", policy.longest_life)?;
    life("default_life_ms", policy.default_life)?;
    if policy.requires_expiry {
        object.insert("requires_expiry".into(), true.into());
    }
    if let Some(scopes) = &policy.grantable {
        object.insert("grantable".into(), Value::from_iter(scopes.iter()));
    }
    if policy.requires_networks {
        object.insert("requires_networks".into(), true.into());
    }
    Ok(Value::Object(object).to_string())
}

pub(in crate::store) fn read_policy(text: &str) -> Result<Policy, &'static str> {
    let Value::Object(fields) = json(text)? else {
        return Err("must be a JSON object");
    };
    let mut policy = Policy::default();
    for (name, value) in &fields {
        let life = || value.as_u64().map(Duration::from_millis).ok_or("must be milliseconds");
        let truth = || value.as_bool().ok_or("must be true or false");
        match &**name {
            "longest_life_ms" => policy.longest_life = Some(life()?),
            "default_life_ms" => policy.default_life = Some(life()?),
            "requires_expiry" => policy.requires_expiry = truth()?,
            "grantable" => policy.grantable = Some(read_scopes(&value.to_string())?),
            "requires_networks" => policy.requires_networks = truth()?,
            // What this version does not know may be what makes the policy strict.
            _ => return Err("unknown field"),
        }
    }
    Ok(policy)
}

pub(super) fn write_networks(networks: &Networks) -> String {
    Value::from_iter(networks.iter().map(IpNet::to_string)).to_string()
}

pub(super) fn read_networks(text: &str) -> Read<Networks> {
    let networks: Read<Vec<IpNet>> = strings(text)?
        .iter()
        .map(|network| network.parse().map_err(|_| "invalid network"))
        .collect();
    Networks::new(networks?).map_err(|_| "too many networks")
}

pub(super) fn write_metadata(metadata: &Metadata) -> String {
    let entries = metadata
        .iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)));
    Value::Object(entries.collect()).to_string()
}

pub(super) fn read_metadata(text: &str) -> Read<Metadata> {
    let Value::Object(entries) = json(text)? else {
        return Err("must be a JSON object");
    };
    let mut metadata = Metadata::default();
    for (name, value) in &entries {
        let value = value.as_str().ok_or("values must be text")?;
        metadata.set(name, value).map_err(|_| "entry out of bounds")?;
    }
    Ok(metadata)
}

pub(in crate::store) fn write_limits(limits: &[RateLimit]) -> String {
    let limits = limits.iter().map(|limit| {
        let mut object = Map::new();
        object.insert("name".into(), limit.name().into());
        object.insert("limit".into(), limit.limit().get().into());
        object.insert("per_seconds".into(), limit.per().as_secs().into());
        object.insert("burst".into(), limit.burst_size().get().into());
        object.insert("cost".into(), limit.cost_per_request().get().into());
        object
    });
    Value::from_iter(limits.map(Value::Object)).to_string()
}

pub(in crate::store) fn read_limits(text: &str) -> Result<Vec<RateLimit>, &'static str> {
    let Value::Array(limits) = json(text)? else {
        return Err("must be a JSON list");
    };
    limits
        .iter()
        .map(|limit| read_limit(limit).ok_or("invalid rate limit"))
        .collect()
}

fn read_limit(limit: &Value) -> Option<RateLimit> {
    let limit = limit.as_object()?;
    // A field that this version does not know may be what makes the limit strict.
    if limit.len() != 5 {
        return None;
    }
    let number = |name: &str| u32::try_from(limit.get(name)?.as_u64()?).ok();
    let per = Duration::from_secs(number("per_seconds")?.into());
    let read = RateLimit::new(limit.get("name")?.as_str()?, number("limit")?, per).ok()?;
    read.burst(number("burst")?).ok()?.cost(number("cost")?).ok()
}

pub(super) fn read_key_status(text: &str) -> Read<KeyStatus> {
    match text {
        "active" => Ok(KeyStatus::Active),
        "disabled" => Ok(KeyStatus::Disabled),
        "revoked" => Ok(KeyStatus::Revoked),
        _ => Err("unknown status"),
    }
}

pub(super) fn read_organization_status(text: &str) -> Read<OrganizationStatus> {
    match text {
        "active" => Ok(OrganizationStatus::Active),
        "inactive" => Ok(OrganizationStatus::Inactive),
        _ => Err("unknown status"),
    }
}

pub(super) fn read_user_status(text: &str) -> Read<UserStatus> {
    match text {
        "active" => Ok(UserStatus::Active),
        "disabled" => Ok(UserStatus::Disabled),
        _ => Err("unknown status"),
    }
}

pub(super) fn read_form(text: &str) -> Read<SecretForm> {
    match text {
        "none" => Ok(SecretForm::None),
        "crc32" => Ok(SecretForm::Crc32),
        "keyed" => Ok(SecretForm::Keyed),
        "foreign" => Ok(SecretForm::Foreign),
        _ => Err("unknown form"),
    }
}

pub(super) fn read_secret_state(text: &str) -> Read<SecretState> {
    match text {
        "pending" => Ok(SecretState::Pending),
        "active" => Ok(SecretState::Active),
        "retired" => Ok(SecretState::Retired),
        _ => Err("unknown state"),
    }
}

/// Integers of SQL are signed.
pub(super) fn write_revision(revision: u64) -> Result<i64, InvalidColumn> {
    i64::try_from(revision).map_err(|_| InvalidColumn {
        column: "revision",
        problem: "must be at most 9223372036854775807",
    })
}

pub(super) fn read_revision(revision: i64) -> Read<u64> {
    u64::try_from(revision).map_err(|_| "must not be negative")
}

fn strings(text: &str) -> Read<Vec<String>> {
    let Value::Array(values) = json(text)? else {
        return Err("must be a JSON list");
    };
    let strings = values.into_iter().map(|value| match value {
        Value::String(text) => Ok(text),
        _ => Err("elements must be text"),
    });
    strings.collect()
}

fn json(text: &str) -> Read<Value> {
    serde_json::from_str(text).map_err(|_| "must be JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_text_never_reads_as_less_strict() {
        for text in [
            "",
            "null",
            "{}",
            "\"*\"",
            "[1]",
            "[\"*\",null]",
            "[\"A\"]",
            "[\"a b\"]",
            "[\"a\"] ",
        ] {
            let read = read_scopes(text);
            assert_eq!(read.is_ok(), text == "[\"a\"] ", "{text}");
        }
        for text in ["", "null", "{}", "[\"\"]", "[null]", "[\"10.0.0.0/33\"]", "[\"::1\"]"] {
            assert!(read_networks(text).is_err(), "{text}");
        }
        for text in ["", "null", "[]", "{\"a\":1}", "{\"\":\"a\"}"] {
            assert!(read_metadata(text).is_err(), "{text}");
        }
        let good = r#"{"name":"a","limit":1,"per_seconds":1,"burst":1,"cost":1}"#;
        assert!(read_limits(&format!("[{good}]")).is_ok());
        for (from, to) in [
            ("\"limit\":1", "\"limit\":0"),
            ("\"limit\":1", "\"limit\":-1"),
            ("\"limit\":1", "\"limit\":4294967296"),
            ("\"limit\":1", "\"limit\":1.5"),
            ("\"burst\":1,", ""),
            ("\"name\":\"a\"", "\"name\":\"A\""),
            ("\"cost\":1", "\"cost\":1,\"scope\":\"a\""),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(read_limits(&format!("[{bad}]")).is_err(), "{bad}");
        }
        assert!(read_limits("null").is_err());
    }
}
