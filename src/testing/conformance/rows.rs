//! Rows come back as they were written.

use std::fmt::Display;
use std::time::Duration;

use super::bench::{Bench, NOW, hash, insert_key, insert_organization, lookup, new_key, new_text, secret};
use crate::error::ConfigError;
use crate::key::{
    Actor, Holds, KeyId, KeyRecord, KeySecret, KeyStatus, Metadata, Organization, OrganizationStatus, Policy,
    RateLimit, Revocation, SecretForm, Timestamp,
};
use crate::store::{ManagedStore, StoreErrorKind, StoredKey};

const NAMES: &[&str] = &[
    "",
    "orders",
    "Grüße, Ωμέγα, 鍵 und 🔑",
    "o'; DROP TABLE keys; --",
    "\"quoted\" \\ %_?1 $1 \n\t",
];
const TIMES: &[i64] = &[i64::MIN, -1, 0, 1, 1_767_225_600_123, i64::MAX];

pub(super) async fn keys<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let mut keys = Vec::new();
    for name in NAMES {
        let mut key = new_key(&organization);
        key.record.name = (*name).to_owned();
        key.record.prefix = (*name).to_owned();
        key.record.environment = Some((*name).to_owned());
        key.record.status = KeyStatus::Revoked;
        key.record.revocation = Some(Revocation::new(NOW, *name, Actor::user(*name)));
        key.record.created_by = Actor::operator(*name);
        keys.push(key);
    }
    for time in TIMES {
        let time = Timestamp::from_millis(*time);
        let mut key = new_key(&organization);
        key.record.created_at = time;
        key.record.expires_at = Some(time);
        key.record.revocation = Some(Revocation::new(time, "", Actor::system()));
        let mut secret = KeySecret::new(lookup(&new_text()), hash("sha256:00"), time);
        secret.expires_at = Some(time);
        secret.grace_ends_at = Some(time);
        key.secrets = vec![secret];
        keys.push(key);
    }
    for form in [
        SecretForm::None,
        SecretForm::Crc32,
        SecretForm::Keyed,
        SecretForm::Foreign,
    ] {
        let mut key = new_key(&organization);
        key.secrets[0].form = form;
        keys.push(key);
    }
    let full = must(bench, full(&organization));
    keys.push(full.clone());
    for key in &keys {
        bench.insert(key).await;
    }
    for key in &keys {
        bench.same("the key", bench.stored(key.record.id).await, key.clone());
        let found = bench
            .find(&key.secrets[0].lookup)
            .await
            .map(|candidate| candidate.record);
        bench.same("the record", found, Some(key.record.clone()));
        let found = bench
            .find(&key.secrets[0].lookup)
            .await
            .map(|candidate| candidate.secret);
        bench.same("the secret", found.as_ref(), key.secrets.first());
    }
    there_and_back(bench, &organization, full).await;
}

/// Not every database can hold a NUL character in a text.
pub(super) async fn nul<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let with = |change: fn(&mut KeyRecord)| {
        let mut key = new_key(&organization);
        change(&mut key.record);
        key
    };
    let mut metadata = new_key(&organization);
    let set = metadata.record.metadata.set("note", "ends in a nul\0");
    bench.same("whether metadata takes a NUL", set.is_ok(), true);
    for key in [
        with(|record| record.name = "ends in a nul\0".to_owned()),
        with(|record| record.environment = Some("\0".to_owned())),
        with(|record| record.created_by = Actor::operator("a\0b")),
        metadata,
    ] {
        let stored = match bench.store.commit(insert_key(&key)).await {
            Ok(_) => Some(key.clone()),
            Err(error) if error.kind() == StoreErrorKind::InvalidCommit => None,
            Err(error) => bench.broken(format!("a text with a NUL character: {error} ({error:?})")),
        };
        bench.same("the key with a NUL character", bench.key(key.record.id).await, stored);
    }
}

/// Everything set becomes everything unset, and set again.
async fn there_and_back<S: ManagedStore>(bench: &Bench<S>, organization: &Organization, full: StoredKey) {
    let mut bare = new_key(organization).record;
    bare.id = full.record.id;
    bare.status = KeyStatus::Disabled;
    let mut revision = full.record.revision;
    for mut record in [bare, full.record] {
        record.revision = revision;
        bench.update(&mut record).await;
        revision = record.revision;
        let stored = bench.stored(record.id).await;
        bench.same("the updated record", stored.record, record);
        bench.same(
            "the secrets after an update of the record",
            stored.secrets,
            full.secrets.clone(),
        );
    }
}

pub(super) async fn organizations<S: ManagedStore>(bench: &Bench<S>) {
    for name in NAMES {
        let mut organization = Organization::new(*name);
        organization.status = OrganizationStatus::Inactive;
        organization.limits = must(bench, limits());
        organization.email = Some(format!("{name}@{}", organization.slug));
        organization.requires = must(bench, "quotas".parse());
        organization.lifted_limits = must(bench, "requests".parse());
        organization.key_limits = must(bench, limits());
        organization.lifted_key_limits = must(bench, "writes".parse());
        organization.max_keys = Some(u32::MAX);
        organization.policy = must(bench, policy());
        organization.metadata = must(bench, metadata());
        organization.created_at = NOW;
        bench
            .commit("inserting an organization", insert_organization(&organization))
            .await;
        let stored = bench.get("reading an organization", organization.id).await;
        bench.same("the organization", stored, Some(organization.clone()));

        let key = new_key(&organization);
        bench.insert(&key).await;
        let found = bench
            .find(&key.secrets[0].lookup)
            .await
            .map(|candidate| candidate.organization);
        bench.same("the organization of a key", found, Some(organization.clone()));

        let bare = Organization::new("");
        organization = Organization {
            id: organization.id,
            slug: organization.slug,
            name: organization.name,
            revision: organization.revision,
            ..bare
        };
        bench.update_organization(&mut organization).await;
        let found = bench
            .find(&key.secrets[0].lookup)
            .await
            .map(|candidate| candidate.organization);
        bench.same("the updated organization of a key", found, Some(organization));
    }
    let missing = bench.get("reading an organization", Organization::new("").id).await;
    bench.same("an organization that nobody inserted", missing, None);
    let missing = bench.key(new_key(&Organization::new("")).record.id).await;
    bench.same("a key that nobody inserted", missing, None);
}

fn full(organization: &Organization) -> Result<StoredKey, ConfigError> {
    let mut key = new_key(organization);
    let record = &mut key.record;
    record.user = Some("kurt@example.com".parse()?);
    record.prefix = "acme".to_owned();
    record.environment = Some("live".to_owned());
    record.scopes = "* orders:* orders:read a.b-c_d:x.y".parse()?;
    record.networks = "192.0.2.0/24 0.0.0.0/0 2001:db8::/48 ::/0 198.51.100.7".parse()?;
    record.limits = limits()?;
    record.metadata = metadata()?;
    record.ends_with_user = true;
    record.labels = "team:a/b_c.d-e 0 z".parse()?;
    record.roles = "reader billing".parse()?;
    record.lifted_limits = "requests writes".parse()?;
    record.created_by_key = Some(KeyId::new());
    record.is_canary = true;
    record.requires = "quotas".parse()?;
    record.holds = Holds::new(["label:a", "user:kurt o'brien@example.com \"é\""])?;
    record.expires_at = Some(Timestamp::from_millis(1_798_761_600_000));
    // The longest hash there may be.
    key.secrets = vec![secret(&new_text(), &format!("sha256:{}", "0".repeat(505)))];
    if let Some(first) = key.secrets.first_mut() {
        first.expires_at = record.expires_at;
        first.grace_ends_at = Some(NOW);
        first.hint = Some("Wx9é".to_owned());
    }
    Ok(key)
}

fn policy() -> Result<Policy, ConfigError> {
    Ok(Policy {
        longest_life: Some(Duration::from_millis(i64::MAX as u64)),
        default_life: Some(Duration::from_millis(1)),
        requires_expiry: true,
        grantable: Some("orders:* a.b-c_d:x.y".parse()?),
        requires_networks: true,
    })
}

pub(super) fn limits() -> Result<Vec<RateLimit>, ConfigError> {
    let most = u32::MAX;
    // Not sorted by name: their order is reported to clients.
    Ok(vec![
        RateLimit::new("writes", most, Duration::from_secs(31 * 86_400))?
            .burst(1)?
            .cost(most)?,
        RateLimit::per_second("requests", 2)?.burst(most)?,
    ])
}

pub(super) fn metadata() -> Result<Metadata, ConfigError> {
    let mut metadata = Metadata::default();
    for (index, text) in NAMES.iter().enumerate() {
        metadata.set(&format!("{index}{text}"), text)?;
    }
    metadata.set("long", &"x".repeat(1024))?;
    while metadata.len() < 64 {
        metadata.set(&format!("entry {}", metadata.len()), "")?;
    }
    Ok(metadata)
}

#[track_caller]
pub(super) fn must<S: ManagedStore, T, E: Display>(bench: &Bench<S>, made: Result<T, E>) -> T {
    made.unwrap_or_else(|error| bench.broken(format!("the kit's own sample is invalid: {error}")))
}
