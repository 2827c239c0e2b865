//! Lines of the journal: a checksum, and an object.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::bounds::{KeyBounds, OrganizationBounds};
use super::narrowed::Narrowed;
use crate::key::{Holds, KeyStatus, RateLimit, Timestamp, UserId};
use crate::store::sql::{Place, read_limits, read_policy, write_limits, write_policy};

/// A line after the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: Timestamp,
    /// The last row of the change log of the transaction.
    pub(super) place: Place,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// From here on, the lines are of this history of this database.
    Begins(Uuid),
    /// Every change up to here is in the journal.
    Complete,
    Narrowed(Narrowed),
}

/// What the file begins with.
pub(super) const FIRST_LINE: &str = "tower-api-key revocations 1\n";

/// Its text, with its end.
pub(super) fn write(line: &Line) -> String {
    let mut object = match &line.what {
        What::Begins(realm) => json!({ "realm": realm.to_string() }),
        What::Complete => json!({ "complete": true }),
        What::Narrowed(narrowed) => fields(narrowed),
    };
    if let Value::Object(fields) = &mut object {
        fields.insert("at".into(), line.at.as_millis().into());
        fields.insert("seq".into(), line.place.seq.into());
        fields.insert(
            "tag".into(),
            Uuid::from_u128(line.place.tag).simple().to_string().into(),
        );
    }
    let text = object.to_string();
    format!("{} {text}\n", checksum(&text))
}

/// `None` for what this crate did not write so.
pub(super) fn read(text: &str) -> Option<Line> {
    let (sum, text) = text.split_once(' ')?;
    if sum != checksum(text) {
        return None;
    }
    let Value::Object(fields) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let fields = Fields(fields);
    let what = match fields.text("realm") {
        Some(realm) => What::Begins(realm.parse().ok()?),
        None if fields.has("complete") => What::Complete,
        None => What::Narrowed(narrowed(&fields)?),
    };
    Some(Line {
        at: fields.time("at")?,
        place: Place {
            seq: fields.0.get("seq")?.as_u64()?,
            tag: Uuid::try_parse(fields.text("tag")?).ok()?.as_u128(),
        },
        what,
    })
}

fn fields(narrowed: &Narrowed) -> Value {
    match narrowed {
        Narrowed::Key(bounds) if bounds.status == KeyStatus::Revoked => json!({
            "key": bounds.id.to_string(),
            "status": bounds.status.as_str(),
        }),
        Narrowed::Key(bounds) => json!({
            "key": bounds.id.to_string(),
            "status": bounds.status.as_str(),
            "holds": bounds.holds.iter().collect::<Vec<_>>(),
            "user": bounds.user.as_ref().map(|user| user.as_str()),
            "ends_with_user": bounds.ends_with_user,
            "scopes": bounds.scopes.as_str(),
            "roles": bounds.roles.to_string(),
            "networks": bounds.networks.to_string(),
            "limits": write_limits(&bounds.limits),
            "lifted": bounds.lifted_limits.to_string(),
            "ends": bounds.expires_at.map(Timestamp::as_millis),
            "requires": bounds.requires.to_string(),
            "canary": bounds.is_canary,
        }),
        Narrowed::Secret { key, lookup, ends_at } => json!({
            "secret": lookup.as_str(),
            "of": key.to_string(),
            "ends": ends_at.map(Timestamp::as_millis),
        }),
        Narrowed::Organization(bounds) => json!({
            "organization": bounds.id.to_string(),
            "active": bounds.is_active,
            "operator": bounds.is_operator,
            // A life that no column holds was refused before.
            "policy": write_policy(&bounds.policy).unwrap_or_default(),
            "requires": bounds.requires.to_string(),
            "limits": write_limits(&bounds.limits),
            "key_limits": write_limits(&bounds.key_limits),
            "max_keys": bounds.max_keys,
        }),
        Narrowed::User {
            organization,
            user,
            is_active,
        } => json!({ "user": user.as_str(), "of": organization.to_string(), "active": is_active }),
        Narrowed::Plan {
            id,
            limits,
            key_limits,
            max_keys,
        } => json!({
            "plan": id.to_string(),
            "limits": write_limits(limits),
            "key_limits": write_limits(key_limits),
            "max_keys": max_keys,
        }),
        Narrowed::Role { name, scopes } => json!({ "role": name, "scopes": scopes.as_str() }),
        Narrowed::Crc { until } => json!({ "crc": until.as_millis() }),
    }
}

fn narrowed(fields: &Fields) -> Option<Narrowed> {
    let status = || status(fields.text("status")?);
    Some(if fields.has("key") && status()? == KeyStatus::Revoked {
        Narrowed::of_missing_key(fields.parsed("key")?)
    } else if fields.has("key") {
        Narrowed::Key(Box::new(KeyBounds {
            id: fields.parsed("key")?,
            status: status()?,
            holds: fields.holds()?,
            user: fields.optional_user("user")?,
            ends_with_user: fields.truth("ends_with_user")?,
            scopes: fields.parsed("scopes")?,
            roles: fields.parsed("roles")?,
            networks: fields.parsed("networks")?,
            limits: fields.limits("limits")?,
            lifted_limits: fields.parsed("lifted")?,
            expires_at: fields.optional_time("ends")?,
            requires: fields.parsed("requires")?,
            is_canary: fields.truth("canary")?,
        }))
    } else if fields.has("secret") {
        Narrowed::Secret {
            key: fields.parsed("of")?,
            lookup: fields.parsed("secret")?,
            ends_at: fields.optional_time("ends")?,
        }
    } else if fields.has("organization") {
        Narrowed::Organization(Box::new(OrganizationBounds {
            id: fields.parsed("organization")?,
            is_active: fields.truth("active")?,
            is_operator: fields.truth("operator")?,
            policy: read_policy(fields.text("policy")?).ok()?,
            requires: fields.parsed("requires")?,
            limits: fields.limits("limits")?,
            key_limits: fields.limits("key_limits")?,
            max_keys: fields.optional_number("max_keys")?,
        }))
    } else if fields.has("user") {
        Narrowed::User {
            organization: fields.parsed("of")?,
            user: fields.parsed("user")?,
            is_active: fields.truth("active")?,
        }
    } else if fields.has("plan") {
        Narrowed::Plan {
            id: fields.parsed("plan")?,
            limits: fields.limits("limits")?,
            key_limits: fields.limits("key_limits")?,
            max_keys: fields.optional_number("max_keys")?,
        }
    } else if fields.has("role") {
        Narrowed::Role {
            name: fields.text("role")?.to_owned(),
            scopes: fields.parsed("scopes")?,
        }
    } else {
        Narrowed::Crc {
            until: fields.time("crc")?,
        }
    })
}

struct Fields(Map<String, Value>);

impl Fields {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn truth(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        self.0.get(name)?.as_i64().map(Timestamp::from_millis)
    }

    /// `Some(None)` for one that is not set, `None` for one that is no time.
    fn optional_time(&self, name: &str) -> Option<Option<Timestamp>> {
        match self.0.get(name)? {
            Value::Null => Some(None),
            value => Some(Some(Timestamp::from_millis(value.as_i64()?))),
        }
    }

    fn optional_number(&self, name: &str) -> Option<Option<u32>> {
        match self.0.get(name)? {
            Value::Null => Some(None),
            value => Some(Some(u32::try_from(value.as_u64()?).ok()?)),
        }
    }

    fn optional_user(&self, name: &str) -> Option<Option<UserId>> {
        match self.0.get(name)? {
            Value::Null => Some(None),
            value => Some(Some(value.as_str()?.parse().ok()?)),
        }
    }

    fn limits(&self, name: &str) -> Option<Vec<RateLimit>> {
        read_limits(self.text(name)?).ok()
    }

    fn holds(&self) -> Option<Holds> {
        let names: Option<Vec<&str>> = self.0.get("holds")?.as_array()?.iter().map(Value::as_str).collect();
        Holds::new(names?).ok()
    }
}

fn status(text: &str) -> Option<KeyStatus> {
    let all = [KeyStatus::Active, KeyStatus::Disabled, KeyStatus::Revoked];
    all.into_iter().find(|status| status.as_str() == text)
}

/// Against torn and damaged lines, not against forged ones: who can write the file can write the database.
fn checksum(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    crate::key::hex::encode(hash.get(..4).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyRecord, Organization, OrganizationStatus, Plan, Policy};

    fn lines() -> Vec<Line> {
        let mut acme = Organization::new("acme");
        let mut record = KeyRecord::new(acme.id, "orders", Timestamp::from_millis(0));
        let before = record.clone();
        record.status = KeyStatus::Disabled;
        record.scopes = "orders:read invoices:*".parse().unwrap();
        record.roles = "reader".parse().unwrap();
        record.networks = "192.0.2.0/24 2001:db8::/32".parse().unwrap();
        record.expires_at = Some(Timestamp::from_millis(-9));
        record.requires = "origins".parse().unwrap();
        record.is_canary = true;
        record.holds = Holds::new(["user:\"a b\"", Holds::ITSELF]).unwrap();
        record.user = Some("é \"b\"".parse().unwrap());
        record.limits = vec!["requests=10/1s,burst=20,cost=2".parse().unwrap()];
        record.lifted_limits = "exports".parse().unwrap();
        acme.status = OrganizationStatus::Inactive;
        acme.limits = record.limits.clone();
        acme.requires = "origins".parse().unwrap();
        acme.policy = Policy {
            longest_life: Some(std::time::Duration::from_secs(9)),
            grantable: Some("orders:*".parse().unwrap()),
            requires_networks: true,
            ..Policy::default()
        };
        let organization = record.organization_id;
        let narrowed = [
            Narrowed::of_key(&before, &record).unwrap(),
            Narrowed::of_missing_key(record.id),
            Narrowed::Secret {
                key: record.id,
                lookup: "4kT\"z0Q2mV".parse().unwrap(),
                ends_at: None,
            },
            Narrowed::of_organization(&acme, Some(&Plan::first_ones()[0])),
            Narrowed::of_plan(&Plan::first_ones()[1]),
            Narrowed::User {
                organization,
                user: "é \"b\"".parse().unwrap(),
                is_active: false,
            },
            Narrowed::Role {
                name: "reader".into(),
                scopes: Default::default(),
            },
            Narrowed::Crc {
                until: Timestamp::from_millis(5),
            },
        ];
        let whats = narrowed.into_iter().map(What::Narrowed);
        let whats = whats.chain([What::Begins(Uuid::from_u128(7)), What::Complete]);
        let line = |what| Line {
            at: Timestamp::from_millis(1),
            place: Place {
                seq: u64::MAX,
                tag: u128::MAX,
            },
            what,
        };
        whats.map(line).collect()
    }

    #[test]
    fn lines_are_read_back_and_no_damaged_one_is() {
        for line in lines() {
            let text = write(&line);
            let text = text.strip_suffix('\n').unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(read(text), Some(line));
            for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
                assert_eq!(read(&text[..at]), None);
            }
            for (from, to) in [("\"seq\"", "\"sEq\""), ("1", "2")] {
                let damaged = text.replacen(from, to, 1);
                assert!(damaged == text || read(&damaged).is_none(), "{damaged}");
            }
        }
    }
}
