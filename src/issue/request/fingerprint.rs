//! The digest by which a repetition of a request is known.

use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Expiry, IssueRequest};
use crate::key::{Actor, IdempotencyKey};

impl IssueRequest {
    /// A keyed digest of all that is asked for, for this idempotency key of this caller: rows of equal requests do not show that
    /// they are. Times are taken as they are asked for, since "in 90 days" is the same request a minute later.
    ///
    /// A field that is added later goes in only if it is set: while an upgrade rolls, programs of both versions answer repetitions.
    pub(in crate::issue) fn fingerprint(&self, mac: Hmac<Sha256>, caller: &Actor, key: &IdempotencyKey) -> [u8; 32] {
        // Each field is named, so that none is forgotten.
        let Self {
            organization,
            name,
            user,
            ends_with_user,
            labels,
            environment,
            scopes,
            roles,
            networks,
            limits,
            lifted_limits,
            metadata,
            created_by_key,
            is_canary,
            requires,
            expiry,
        } = self;
        let mut fields = Fields(mac);
        fields.text(&caller.to_string());
        fields.text(key.as_str());
        fields.bytes(organization.as_uuid().as_bytes());
        fields.text(name);
        fields.list(user.iter().map(|user| user.as_str()));
        fields.truth(*ends_with_user);
        fields.list(labels.iter());
        fields.list(environment.iter().map(|environment| &**environment));
        fields.list(scopes.iter());
        fields.list(roles.iter());
        fields.list(networks.iter().map(ToString::to_string));
        fields.list(limits.iter().map(ToString::to_string));
        fields.list(lifted_limits.iter());
        fields.list(metadata.iter().flat_map(|(name, value)| [name, value]));
        fields.list(created_by_key.iter().map(ToString::to_string));
        fields.truth(*is_canary);
        fields.list(requires.iter());
        match *expiry {
            Expiry::Never => fields.text("never"),
            Expiry::At(time) => {
                fields.text("at");
                fields.bytes(&time.as_millis().to_be_bytes());
            }
            Expiry::In(time) => {
                fields.text("in");
                fields.bytes(&Duration::as_nanos(&time).to_be_bytes());
            }
        }
        fields.0.finalize().into_bytes().into()
    }
}

/// Fields with their lengths in front, so that no two lists of them are one text.
struct Fields(Hmac<Sha256>);

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn truth(&mut self, value: bool) {
        self.bytes(&[u8::from(value)]);
    }

    fn list<T: AsRef<str>>(&mut self, texts: impl Iterator<Item = T>) {
        let texts: Vec<T> = texts.collect();
        self.0.update(&(texts.len() as u64).to_be_bytes());
        texts.iter().for_each(|text| self.text(text.as_ref()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hmac::KeyInit;

    use super::*;
    use crate::key::{KeyId, Metadata, OrganizationId, Timestamp};

    fn of(request: &IssueRequest, caller: &str, key: &str) -> [u8; 32] {
        let mac = Hmac::new_from_slice(b"a secret of tests").unwrap();
        request.fingerprint(mac, &Actor::user(caller), &key.parse().unwrap())
    }

    /// Two requests that differ anywhere are two; how a set was written is no difference.
    #[test]
    fn every_field_counts_and_no_order_of_sets() {
        let (acme, other) = (OrganizationId::from_u128(1), OrganizationId::from_u128(2));
        let request = || IssueRequest::new(acme, "key");
        let metadata = |name: &str, value: &str| {
            let mut metadata = Metadata::default();
            metadata.set(name, value).unwrap();
            metadata
        };
        let day = Duration::from_secs(86_400);
        let requests = vec![
            request(),
            IssueRequest::new(other, "key"),
            IssueRequest::new(acme, "key2"),
            request().user("alice".parse().unwrap()),
            request().user("alice".parse().unwrap()).ends_with_user(),
            request().labels("a b".parse().unwrap()),
            request().labels("a".parse().unwrap()),
            request().environment("live"),
            request().environment("test"),
            request().scopes("orders:read".parse().unwrap()),
            request().scopes("orders:read orders:write".parse().unwrap()),
            request().roles("a b".parse().unwrap()),
            request().networks("192.0.2.0/24".parse().unwrap()),
            request().limit("requests=1/1s".parse().unwrap()),
            request().limit("requests=1/1s,cost=2".parse().unwrap()),
            request().lift_limits("a b".parse().unwrap()),
            request().metadata(metadata("a", "b")),
            request().metadata(metadata("a", "")),
            request().metadata(metadata("ab", "")),
            request().created_by_key(KeyId::from_u128(3)),
            request().canary(),
            request().requires("a b".parse().unwrap()),
            request().expires_in(day),
            request().expires_in(day + Duration::from_nanos(1)),
            request().expires_at(Timestamp::from_millis(86_400_000)),
        ];
        let mut found: BTreeSet<[u8; 32]> = requests.iter().map(|request| of(request, "alice", "one")).collect();
        assert_eq!(found.len(), requests.len());
        for (caller, key) in [("bob", "one"), ("alice", "two")] {
            assert!(found.insert(of(&request(), caller, key)));
        }

        let one = request()
            .scopes("orders:read invoices:*".parse().unwrap())
            .labels("a b".parse().unwrap())
            .networks("192.0.2.0/24 2001:db8::/48".parse().unwrap());
        let same = request()
            .networks("2001:db8::/48 ::ffff:192.0.2.0/120".parse().unwrap())
            .labels("b a a".parse().unwrap())
            .scopes("invoices:* orders:read".parse().unwrap());
        assert_eq!(of(&one, "alice", "one"), of(&same, "alice", "one"));
    }
}
