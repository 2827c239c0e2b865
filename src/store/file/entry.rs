//! One key of a text, and one organization.

use std::borrow::Cow;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::plaintext;
use super::problem::Fault;
use super::value::{Kind, Table, Value};
use crate::hash::{self, InvalidHashKind};
use crate::key::{
    ApiKey, KeyFormat, KeyFormats, KeyRecord, KeySecret, KeyStatus, LONGEST_NAME, Lookup, MOST_LIMITS, Metadata,
    Networks, Organization, OrganizationId, OrganizationStatus, RateLimit, Scope, ScopeSet, SecretHash, Timestamp,
    check_slug, hex,
};

const SHA256: &str = "sha256:";

/// What a text may have.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) formats: KeyFormats,
    pub(super) plaintext: bool,
}

/// A key whose ids are not known yet.
pub(super) struct Entry<'v> {
    pub(super) record: KeyRecord,
    pub(super) secret: KeySecret,
    pub(super) organization: &'v str,
    pub(super) plaintext: bool,
}

pub(super) fn key<'v>(value: &'v Value<'_>, rules: &Rules) -> Result<Entry<'v>, Fault> {
    let table = value.table(&[
        "name",
        "organization",
        "hash",
        "key",
        "lookup",
        "prefix",
        "environment",
        "scopes",
        "networks",
        "limits",
        "user",
        "metadata",
        "status",
        "expires_at",
    ])?;
    let made_at = Timestamp::from_millis(0);
    // The ids are given later, by organization and name.
    let nobody = OrganizationId::from(uuid::Uuid::nil());
    let mut record = KeyRecord::new(nobody, name(table.need("name")?)?, made_at);
    let organization = name(table.need("organization")?)?;
    let (secret, plaintext) = match (table.get("hash"), table.get("key")) {
        (Some(hash), None) => (hashed(&table, hash, rules, &mut record)?, false),
        (None, Some(key)) => (plain(&table, key, rules)?, true),
        _ => return Err(table.fault("needs either `hash` or, in a store that allows plaintext, `key`")),
    };
    record.scopes = scopes(table.need("scopes")?)?;
    record.networks = networks(table.need("networks")?)?;
    record.limits = table.get("limits").map(limits).transpose()?.unwrap_or_default();
    if let Some(value) = table.get("user") {
        let user = value.text()?.parse();
        let problem = "must be a user id of 1 to 255 bytes without control characters";
        record.user = Some(user.map_err(|_| value.fault(problem))?);
    }
    if let Some(value) = table.get("metadata") {
        record.metadata = metadata(value)?;
    }
    if let Some(value) = table.get("status") {
        record.status = match &**value.text()? {
            "active" => KeyStatus::Active,
            "disabled" => KeyStatus::Disabled,
            _ => return Err(value.fault("must be `active` or `disabled`; a revoked key is removed")),
        };
    }
    record.expires_at = table.get("expires_at").map(time).transpose()?;
    Ok(Entry {
        record,
        secret,
        organization,
        plaintext,
    })
}

/// An organization without its id, and the slug that is stated.
pub(super) fn organization<'v>(value: &'v Value<'_>) -> Result<(Organization, Option<&'v str>), Fault> {
    let table = value.table(&["name", "slug", "status", "limits"])?;
    let mut organization = Organization::new(name(table.need("name")?)?);
    let slug = match table.get("slug") {
        Some(value) => {
            let problem = "must have 1 to 64 bytes of `a-z`, `0-9` and `-`";
            check_slug(value.text()?).map_err(|_| value.fault(problem))?;
            Some(&**value.text()?)
        }
        None => None,
    };
    if let Some(value) = table.get("status") {
        organization.status = match &**value.text()? {
            "active" => OrganizationStatus::Active,
            "inactive" => OrganizationStatus::Inactive,
            _ => return Err(value.fault("must be `active` or `inactive`")),
        };
    }
    organization.limits = table.get("limits").map(limits).transpose()?.unwrap_or_default();
    Ok((organization, slug))
}

pub(super) fn name<'v>(value: &'v Value<'_>) -> Result<&'v str, Fault> {
    let text = value.text()?;
    if text.is_empty() || text.len() > LONGEST_NAME || text.chars().any(char::is_control) {
        let problem = format!("must have 1 to {LONGEST_NAME} bytes and no control characters");
        return Err(value.fault(problem));
    }
    Ok(text)
}

/// A secret with a stored hash: found by the lookup that is stated, or else by the hash itself, which only SHA-256 allows.
fn hashed(table: &Table<'_, '_>, value: &Value<'_>, rules: &Rules, record: &mut KeyRecord) -> Result<KeySecret, Fault> {
    let hash = &**value.text()?;
    let digest = hash.strip_prefix(SHA256).and_then(hex::decode::<32>);
    let hash = match &digest {
        // In lower case, so that one hash is one text.
        Some(digest) => SecretHash::of_sha256(digest),
        None => SecretHash::new(hash).map_err(|_| value.fault("must have 1 to 512 bytes"))?,
    };
    hash::validate(&hash).map_err(|error| {
        value.fault(match error.kind() {
            InvalidHashKind::UnknownScheme => {
                "unknown scheme of hash; use `sha256:` and 64 hex digits, or `$argon2id$` (bcrypt: feature `legacy-hashes`)"
            }
            InvalidHashKind::OutOfBounds => "the parameters of the hash are out of bounds",
            _ if hash.as_str().starts_with(SHA256) => "must be `sha256:` and 64 hex digits",
            _ => "the hash is malformed",
        })
    })?;
    let Some(lookup) = table.get("lookup") else {
        for name in ["prefix", "environment"] {
            if let Some(value) = table.get(name) {
                return Err(value.fault("needs a `lookup`: a key that is found by its hash has no parts"));
            }
        }
        let problem = "needs a `lookup`, by which the key is found: only `sha256:` does without";
        return digest
            .and_then(|digest| by_digest(&digest))
            .ok_or_else(|| value.fault(problem));
    };
    name_format(table, lookup, rules, record)?;
    let problem = "must be 1 to 24 visible ASCII characters, those after prefix and environment";
    let found_by = Lookup::new(lookup.text()?)
        .ok()
        .filter(|text| text.as_str().len() <= LONGEST_LOOKUP);
    let found_by = found_by.ok_or_else(|| lookup.fault(problem))?;
    Ok(KeySecret::new(found_by, hash, record.created_at))
}

/// Prefix and environment of a key with a lookup: they must be those of a format, or no key would ever have them.
fn name_format(table: &Table<'_, '_>, lookup: &Value<'_>, rules: &Rules, record: &mut KeyRecord) -> Result<(), Fault> {
    // The raw format has no prefix, and its lookups are hashes.
    let mut formats = rules.formats.iter().filter(|format: &&KeyFormat| !format.is_raw());
    let prefix = table.get("prefix");
    let format = match prefix {
        None => formats.next().ok_or_else(|| {
            lookup.fault("no key format of this store has lookups: `FileStoreBuilder::formats` sets them")
        }),
        Some(prefix) => {
            let wanted = prefix.text()?;
            let format = formats.find(|format| format.prefix() == &**wanted);
            format.ok_or_else(|| {
                prefix.fault("no key format of this store has this prefix: `FileStoreBuilder::formats` sets them")
            })
        }
    }?;
    record.prefix = format.prefix().to_owned();
    record.environment = match table.get("environment") {
        None => format.environments().next().map(ToOwned::to_owned),
        Some(value) => {
            let wanted = &**value.text()?;
            if !format.environments().any(|environment| environment == wanted) {
                return Err(
                    value.fault("its key format has no such environment: `FileStoreBuilder::formats` sets the formats")
                );
            }
            Some(wanted.to_owned())
        }
    };
    Ok(())
}

/// The secret of a key in plain text, which is forgotten here.
fn plain(table: &Table<'_, '_>, value: &Value<'_>, rules: &Rules) -> Result<KeySecret, Fault> {
    if !rules.plaintext {
        return Err(
            value.fault("keys in plain text are not allowed here; write the `hash`, or call `FileStoreBuilder::dangerous_plaintext`")
        );
    }
    for name in ["lookup", "prefix", "environment"] {
        if let Some(value) = table.get(name) {
            return Err(value.fault("a key in plain text is found without it"));
        }
    }
    let key = match value.text()? {
        Cow::Borrowed(text) => ApiKey::from((*text).to_owned()),
        Cow::Owned(text) => ApiKey::from(text.clone()),
    };
    let text = key.expose_secret();
    if !(16..=256).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(value.fault("must be 16 to 256 visible ASCII characters"));
    }
    if !plaintext::is_strong(text) {
        return Err(value.fault("is too short for its alphabet: a key needs 128 random bits, such as 32 hex digits"));
    }
    by_digest(&Sha256::digest(text).into()).ok_or_else(|| value.fault("cannot be used"))
}

/// The secret of a key that is found by the SHA-256 of its whole text.
fn by_digest(digest: &[u8; 32]) -> Option<KeySecret> {
    let hash = SecretHash::of_sha256(digest);
    let lookup = Lookup::new(hash.as_str().strip_prefix("sha256:")?).ok()?;
    Some(KeySecret::new(lookup, hash, Timestamp::from_millis(0)))
}

fn scopes(value: &Value<'_>) -> Result<ScopeSet, Fault> {
    let scope = |value: &Value<'_>| -> Result<Scope, Fault> {
        let scope = value.text()?.parse();
        scope.map_err(|_| value.fault("must be `resource:action`, `resource:*` or `*` in lower case"))
    };
    let scopes: Vec<Scope> = value.list()?.iter().map(scope).collect::<Result<_, _>>()?;
    ScopeSet::new(scopes).map_err(|_| value.fault("must be at most 256 scopes"))
}

/// `"any"` is written out, so that a list that got lost never means everywhere.
fn networks(value: &Value<'_>) -> Result<Networks, Fault> {
    let values = match &value.kind {
        Kind::Text(text) if text == "any" => return Ok(Networks::default()),
        Kind::List(values) if !values.is_empty() => values,
        _ => return Err(value.fault("must be `\"any\"` or a list of one network or more")),
    };
    let mut networks = Vec::new();
    for value in values {
        let parsed = value.text()?.parse::<Networks>();
        match parsed
            .as_ref()
            .map(|parsed| parsed.iter().collect::<Vec<_>>())
            .as_deref()
        {
            Ok([network]) => networks.push(**network),
            _ => return Err(value.fault("must be `address/length` or an address")),
        }
    }
    Networks::new(networks).map_err(|_| value.fault("must be at most 256 networks"))
}

fn limits(value: &Value<'_>) -> Result<Vec<RateLimit>, Fault> {
    let mut limits: Vec<RateLimit> = Vec::new();
    for value in value.list()? {
        let limit = limit(value)?;
        if limits.iter().any(|other| other.name() == limit.name()) {
            return Err(value.fault("repeated name of a limit"));
        }
        limits.push(limit);
    }
    if limits.len() > MOST_LIMITS {
        return Err(value.fault(format!("must be at most {MOST_LIMITS} limits")));
    }
    Ok(limits)
}

fn limit(value: &Value<'_>) -> Result<RateLimit, Fault> {
    if let Kind::Text(text) = &value.kind {
        let problem = "must be as in `requests=100/60s` or `requests=100/1m,burst=200,cost=2`";
        return text.parse().map_err(|_| value.fault(problem));
    }
    let table = value.table(&["name", "limit", "per", "burst", "cost"])?;
    let limit = table.need("limit")?.number()?;
    let burst = table.get("burst").map(Value::number).transpose()?;
    let cost = table.get("cost").map(Value::number).transpose()?;
    let per = Duration::from_secs(table.need("per")?.number()?.into());
    let built = RateLimit::new(table.need("name")?.text()?, limit, per)
        .and_then(|built| built.burst(burst.unwrap_or(limit)))
        .and_then(|built| built.cost(cost.unwrap_or(1)));
    // The name of the setting alone: its message may show the text.
    built.map_err(|error| value.fault(format!("invalid {}", setting(error.setting()))))
}

fn setting(name: &str) -> &'static str {
    match name {
        "rate limit name" => "name of a limit: must match `[a-z0-9_-]{1,64}`",
        "rate limit window" => "window of a limit: `per` must be 1 second to 31 days, in seconds",
        _ => "limit: its numbers must be at least 1",
    }
}

fn metadata(value: &Value<'_>) -> Result<Metadata, Fault> {
    let mut metadata = Metadata::default();
    for field in value.fields()? {
        let set = metadata.set(&field.name, field.value.text()?);
        let problem = "must be at most 64 names of 1 to 64 bytes, with texts of at most 1,024 bytes";
        set.map_err(|_| Fault::new(field.at, problem))?;
    }
    Ok(metadata)
}

fn time(value: &Value<'_>) -> Result<Timestamp, Fault> {
    let text = match &value.kind {
        Kind::Text(text) => &**text,
        Kind::Date(text) => text,
        _ => "",
    };
    text.parse()
        .map_err(|_| value.fault("must be an RFC 3339 date and time with an offset, as in 2027-01-31T23:59:59Z"))
}

/// In characters: a longer lookup is a hash of the whole key.
const LONGEST_LOOKUP: usize = 24;
