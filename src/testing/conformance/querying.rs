//! Lists: filters, order, pages and counts.

use super::bench::{Bench, insert_organization, new_key, new_secret, new_text, secret};
use super::rows;
use crate::key::{Actor, KeyId, KeyStatus, Organization, OrganizationStatus, Revocation, SecretHash, Timestamp};
use crate::store::query::{AuditEvents, Cursor, EndedKeys, KeyByHash, Keys, Organizations, Paged, TypedQuery};
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoreExt, StoredKey, Write};

pub(super) async fn keys<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let prefix = new_text();
    let creator = KeyId::new();
    let at = Timestamp::from_millis;
    let mut all = Vec::new();
    let names = [
        "Orders",
        "ORDERS b",
        "orders a",
        "Ordnung",
        "Ørder",
        "ＯＲＤＥＲＳ c",
        "",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let mut key = new_key(&organization);
        key.record.name = name.to_owned();
        key.record.user = (number % 2 == 0).then(|| "alice".parse().ok()).flatten();
        key.record.status = [KeyStatus::Active, KeyStatus::Disabled, KeyStatus::Revoked][number % 3];
        key.record.labels = rows::must(bench, ["", "team:a", "team:a ops"][number % 3].parse());
        key.record.environment = (number % 2 == 1).then(|| "test".to_owned());
        key.record.created_by_key = (number == 4).then_some(creator);
        key.record.expires_at = (number > 3).then(|| Timestamp::from_millis(number as i64));
        if number < 3 {
            key.secrets = vec![
                new_secret("sha256:00"),
                secret(&format!("{prefix}{number}"), "sha256:11"),
            ];
        }
        bench.insert(&key).await;
        all.push(key);
    }
    // Those of others are in no list.
    bench.inserted().await;
    let of = || Keys::of(organization.id);
    let alice = "alice".parse().ok();
    for (what, query, numbers) in [
        ("all keys", of(), vec![0, 1, 2, 3, 4, 5, 6]),
        ("active keys", of().status(KeyStatus::Active), vec![0, 3, 6]),
        ("revoked keys", of().status(KeyStatus::Revoked), vec![2, 5]),
        ("keys by lookup", of().lookup_starts_with(&prefix), vec![0, 1, 2]),
        (
            "keys by whole lookup",
            of().lookup_starts_with(&format!("{prefix}1")),
            vec![1],
        ),
        (
            "keys of any organization by lookup",
            Keys::all().lookup_starts_with(&prefix),
            vec![0, 1, 2],
        ),
        (
            "keys by another case of lookup",
            of().lookup_starts_with(&prefix.to_uppercase()),
            vec![],
        ),
        ("keys by name", of().name_starts_with("ORDERS"), vec![0, 2, 1, 5]),
        (
            "keys by part of a name",
            of().name_starts_with("ord"),
            vec![0, 2, 1, 5, 3],
        ),
        ("keys by pattern", of().name_starts_with("%"), vec![]),
        ("keys by any name", of().name_starts_with(""), vec![6, 0, 2, 1, 5, 3, 4]),
        ("keys by label", of().label("team:a"), vec![1, 2, 4, 5]),
        ("keys by another label", of().label("ops"), vec![2, 5]),
        ("keys by part of a label", of().label("team"), vec![]),
        ("keys by environment", of().environment("test"), vec![1, 3, 5]),
        ("keys by creator", of().created_by_key(creator), vec![4]),
        ("keys that have not ended", of().ends_after(at(5)), vec![0, 1, 2, 3, 6]),
        ("keys that have ended", of().ends_until(at(5)), vec![4, 5]),
        (
            "keys that end soon",
            of().ends_after(at(4)).ends_until(at(6)),
            vec![5, 6],
        ),
        (
            "active keys by name",
            of().name_starts_with("o").status(KeyStatus::Active),
            vec![0, 3],
        ),
    ] {
        let expected: Vec<StoredKey> = numbers.iter().map(|number| all[*number].clone()).collect();
        pages(bench, what, query, expected).await;
    }
    if let Some(alice) = alice {
        let expected: Vec<StoredKey> = [0, 2, 4, 6].map(|number| all[number].clone()).into();
        pages(bench, "keys of a user", of().user(alice), expected).await;
    }
    let none = bench.get("a list", Keys::of(Organization::new("").id)).await;
    bench.holds(
        none.items.is_empty() && none.next.is_none(),
        "an organization without keys has some",
    );
}

pub(super) async fn by_hash<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let text = format!("sha256:{}", new_text());
    let mut keys = Vec::new();
    for hashes in [[&*text, "sha256:11"], ["sha256:22", &text]] {
        let mut key = new_key(&organization);
        key.secrets = hashes.map(new_secret).into();
        bench.insert(&key).await;
        keys.push(key);
    }
    keys.sort_by_key(|key| key.record.id);
    let query = |text: &str| {
        rows::must(
            bench,
            SecretHash::new(text).map_err(Into::into).and_then(KeyByHash::new),
        )
    };
    let found = bench.get("a key by its hash", query(&text)).await;
    bench.same("the first key with a hash", found, keys.first().cloned());
    for other in [&text[..text.len() - 1], &format!("{text}0"), &format!("sha512:{text}")] {
        let found = bench.get("a key by a hash that none has", query(other)).await;
        bench.same("a key with another hash", found, None);
    }
}

pub(super) async fn ended<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let at = Timestamp::from_millis;
    let mut ids = Vec::new();
    for (status, end, revoked_at) in [
        (KeyStatus::Active, Some(-7), None),
        (KeyStatus::Disabled, Some(-9), None),
        (KeyStatus::Active, None, None),
        (KeyStatus::Active, Some(-4), None),
        (KeyStatus::Revoked, Some(-9), Some(-4)),
        (KeyStatus::Revoked, None, Some(-5)),
        (KeyStatus::Revoked, None, Some(-8)),
    ] {
        let mut key = new_key(&organization);
        key.record.status = status;
        key.record.expires_at = end.map(at);
        key.record.revocation = revoked_at.map(|time| Revocation::new(at(time), "", Actor::system()));
        bench.insert(&key).await;
        ids.push(key.record.id);
    }
    // Each has made a key that is there.
    let mut children = Vec::new();
    for (status, end, revoked_at) in [
        (KeyStatus::Active, Some(-9), None),
        (KeyStatus::Revoked, None, Some(-9)),
    ] {
        let (mut creator, mut child) = (new_key(&organization), new_key(&organization));
        creator.record.status = status;
        creator.record.expires_at = end.map(at);
        creator.record.revocation = revoked_at.map(|time| Revocation::new(at(time), "", Actor::system()));
        bench.insert(&creator).await;
        child.record.created_by_key = Some(creator.record.id);
        bench.insert(&child).await;
        ids.push(creator.record.id);
        children.push(child.record.id);
    }
    for (what, query, numbers) in [
        ("keys that had expired", EndedKeys::expired(at(-5)), vec![1, 0]),
        ("keys that expired at a time", EndedKeys::expired(at(-7)), vec![1, 0]),
        ("keys that had expired before", EndedKeys::expired(at(-8)), vec![1]),
        ("keys that were revoked", EndedKeys::revoked(at(-5)), vec![6, 5]),
        ("keys that were revoked before", EndedKeys::revoked(at(-6)), vec![6]),
    ] {
        are_ended(bench, what, query, &organization, &ids, &numbers).await;
    }
    for child in children {
        bench
            .commit("deleting a key", Commit::new().write(Write::DeleteKey(child)))
            .await;
    }
    let what = "keys whose keys are gone";
    are_ended(bench, what, EndedKeys::expired(at(-8)), &organization, &ids, &[1, 7]).await;
    are_ended(bench, what, EndedKeys::revoked(at(-6)), &organization, &ids, &[8, 6]).await;
}

async fn are_ended<S: ManagedStore>(
    bench: &Bench<S>,
    what: &str,
    query: EndedKeys,
    organization: &Organization,
    ids: &[KeyId],
    numbers: &[usize],
) {
    let found = bench.get(what, query).await;
    // Others may be of other rules.
    let found = found.iter().filter(|record| record.organization_id == organization.id);
    let expected: Vec<KeyId> = numbers.iter().map(|number| ids[*number]).collect();
    bench.same(what, found.map(|record| record.id).collect::<Vec<_>>(), expected);
}

/// In one page, by cursors and by offsets; and counted.
async fn pages<S: ManagedStore>(bench: &Bench<S>, what: &str, query: Keys, expected: Vec<StoredKey>) {
    let ids = |keys: &[StoredKey]| -> Vec<KeyId> { keys.iter().map(|key| key.record.id).collect() };
    let page = bench.get(what, query.clone().page(100)).await;
    bench.same(what, page.items, expected.clone());
    bench.holds(
        page.next.is_none(),
        format!("{what}: there is a cursor after the last page"),
    );
    for size in [1, 2, 3] {
        let mut read = Vec::new();
        let mut next = None;
        loop {
            let part = query.clone().page(size);
            let part = match next {
                Some(cursor) => part.after(cursor),
                None => part,
            };
            let page: Paged<StoredKey> = bench.get(what, part).await;
            bench.holds(
                page.items.len() <= usize::from(size),
                format!("{what}: a page is too long"),
            );
            read.extend(page.items);
            let Some(cursor) = page.next else { break };
            next = Some(cursor);
        }
        bench.same(&format!("{what}, walked by cursor"), ids(&read), ids(&expected));
    }
    for offset in 0..=expected.len() {
        let Ok(part) = query.clone().page(2).offset(u32::try_from(offset).unwrap_or(0)) else {
            bench.broken("a small offset was refused");
        };
        let page = bench.get(what, part).await;
        let rest = &expected[offset..];
        let should = ids(&rest[..rest.len().min(2)]);
        bench.same(&format!("{what} from an offset"), ids(&page.items), should);
    }
    let count = bench.get(what, query.count()).await;
    bench.same(
        &format!("the number of {what}"),
        (count.number, count.is_exact),
        (expected.len() as u64, true),
    );
}

pub(super) async fn organizations<S: ManagedStore>(bench: &Bench<S>) {
    let prefix = new_text();
    let mut all = Vec::new();
    for (number, name) in ["b", "A", "c", "a", "C"].into_iter().enumerate() {
        let mut organization = Organization::new(format!("{prefix}{name}"));
        if number % 2 == 0 {
            organization.status = OrganizationStatus::Inactive;
        }
        bench
            .commit("inserting an organization", insert_organization(&organization))
            .await;
        all.push(organization);
    }
    let list = || Organizations::all().name_starts_with(&prefix);
    for (what, query, numbers) in [
        ("organizations by name", list(), vec![1, 3, 0, 2, 4]),
        (
            "inactive organizations",
            list().status(OrganizationStatus::Inactive),
            vec![0, 2, 4],
        ),
        (
            "active organizations",
            list().status(OrganizationStatus::Active),
            vec![1, 3],
        ),
    ] {
        let expected: Vec<Organization> = numbers.iter().map(|number| all[*number].clone()).collect();
        let mut read = Vec::new();
        let mut page = bench.get(what, query.clone().page(2)).await;
        loop {
            read.append(&mut page.items);
            let Some(cursor) = page.next else { break };
            page = bench.get(what, query.clone().page(2).after(cursor)).await;
        }
        bench.same(what, read, expected.clone());
        let count = bench.get(what, query.count()).await;
        bench.same(&format!("the number of {what}"), count.number, expected.len() as u64);
    }
    // By id, from the first of ours on.
    let mut seen = Vec::new();
    let mut page = bench.get("organizations", Organizations::all().page(1000)).await;
    loop {
        seen.extend(page.items.iter().map(|organization| organization.id));
        let Some(cursor) = page.next else { break };
        page = bench
            .get("organizations", Organizations::all().page(1000).after(cursor))
            .await;
    }
    bench.holds(seen.is_sorted(), "organizations are not ordered by id");
    let has_all = all.iter().all(|organization| seen.contains(&organization.id));
    bench.holds(has_all, "an organization is missing from the list of all");
}

pub(super) async fn foreign_cursors<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    for _ in 0..3 {
        bench.insert(&new_key(&organization)).await;
        bench.organization().await;
    }
    let other = bench.organization().await;
    let of = || Keys::of(organization.id).page(1);
    let Some(cursor) = bench.get("keys", of()).await.next else {
        bench.broken("a list of three has one page of one");
    };
    let Some(foreign) = bench.get("organizations", Organizations::all().page(1)).await.next else {
        bench.broken("a list of three has one page of one");
    };
    is_invalid(
        bench,
        "another organization's",
        Keys::of(other.id).after(cursor.clone()),
    )
    .await;
    is_invalid(bench, "a list of all keys'", Keys::all().after(cursor.clone())).await;
    is_invalid(
        bench,
        "another status'",
        of().status(KeyStatus::Active).after(cursor.clone()),
    )
    .await;
    is_invalid(
        bench,
        "another order's",
        of().name_starts_with("").after(cursor.clone()),
    )
    .await;
    is_invalid(bench, "another query's", Organizations::all().after(cursor.clone())).await;
    is_invalid(bench, "another query's", AuditEvents::of(organization.id).after(cursor)).await;
    is_invalid(bench, "another query's", of().after(foreign)).await;
    for rubbish in ["", "rubbish", "AQ"] {
        if let Ok(cursor) = rubbish.parse::<Cursor>() {
            is_invalid(bench, "no", of().after(cursor)).await;
        }
    }
}

async fn is_invalid<S: ManagedStore, T: std::fmt::Debug>(
    bench: &Bench<S>,
    whose: &str,
    query: impl TypedQuery<Output = Paged<T>>,
) {
    let answer = bench.store.get(query).await;
    bench.refused(
        &format!("a page after {whose} cursor"),
        answer,
        StoreErrorKind::InvalidCursor,
    );
}
