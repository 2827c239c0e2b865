//! Lists that change while they are read, in stores that order their rows in different ways.

use tower_api_key::Issuer;
use tower_api_key::key::{KeyId, KeyRecord, KeyStatus, Organization, Timestamp};
use tower_api_key::store::query::{AuditEvents, Cursor, Keys, Organizations, Paged, TypedQuery};
use tower_api_key::store::{Commit, DynStore, ManagedStore, StoreErrorKind, StoreExt, StoredKey, Write};

use crate::support::stores::stores;

type Failure = Box<dyn std::error::Error>;

/// Keys of a new organization with these names.
async fn keys(store: &DynStore, names: &[&str]) -> Result<(Organization, Vec<KeyRecord>), Failure> {
    let acme = Organization::new("acme");
    let mut commit = Commit::new().write(Write::InsertOrganization(acme.clone()));
    let at = Timestamp::from_millis(1_767_225_600_000);
    let records: Vec<KeyRecord> = names.iter().map(|name| KeyRecord::new(acme.id, *name, at)).collect();
    commit.writes.extend(records.iter().cloned().map(Write::InsertKey));
    store.commit(commit).await?;
    Ok((acme, records))
}

fn ids(page: &Paged<StoredKey>) -> Vec<KeyId> {
    page.items.iter().map(|key| key.record.id).collect()
}

async fn delete(store: &DynStore, records: &[KeyRecord]) -> Result<(), Failure> {
    let mut commit = Commit::new();
    commit.writes = records.iter().map(|record| Write::DeleteKey(record.id)).collect();
    store.commit(commit).await?;
    Ok(())
}

#[tokio::test]
async fn page_goes_on_when_its_last_row_is_gone() -> Result<(), Failure> {
    for (store, _database) in stores().await {
        let (acme, records) = keys(&store, &["k"; 10]).await?;
        let query = Keys::of(acme.id).status(KeyStatus::Active).page(3);
        let first = store.get(query.clone()).await?;
        let all: Vec<KeyId> = records.iter().map(|record| record.id).collect();
        assert_eq!(ids(&first), all[..3]);
        let after_first = first.next.ok_or("a next page")?;

        // It leaves the filter, and then the table.
        let mut third = records[2].clone();
        third.status = KeyStatus::Revoked;
        store.commit(Commit::new().write(Write::UpdateKey(third))).await?;
        let second = store.get(query.clone().after(after_first.clone())).await?;
        assert_eq!(ids(&second), all[3..6]);
        delete(&store, &records[2..3]).await?;
        let second = store.get(query.clone().after(after_first.clone())).await?;
        assert_eq!(ids(&second), all[3..6]);

        delete(&store, &records[..2]).await?;
        delete(&store, &records[3..]).await?;
        store
            .commit(Commit::new().write(Write::DeleteOrganization(acme.id)))
            .await?;
        let last = store.get(query.after(after_first)).await?;
        assert!(last.items.is_empty() && last.next.is_none());
    }
    Ok(())
}

#[tokio::test]
async fn equal_names_and_times_come_once_each_at_any_page_size() -> Result<(), Failure> {
    for (store, _database) in stores().await {
        let mut names = vec!["Same name"; 50];
        names.extend([
            "Straße",
            "STRASSE",
            "İ",
            "Cafe\u{301}",
            "café",
            "ﬁle",
            "FILE",
            "ΟΔΟΣ",
            "οδοσα",
            "_",
            "%",
        ]);
        let (acme, _) = keys(&store, &names).await?;
        for (query, rows) in [
            (Keys::of(acme.id).name_starts_with("SAME"), 50),
            (Keys::of(acme.id).name_starts_with(""), names.len()),
            (Keys::of(acme.id).name_starts_with("CAFÉ"), 2),
            (Keys::of(acme.id).name_starts_with("fi"), 2),
            (Keys::of(acme.id).name_starts_with("ΟΔΟΣ"), 2),
            (Keys::of(acme.id).name_starts_with("_"), 1),
            (Keys::of(acme.id).name_starts_with("%"), 1),
            (Keys::of(acme.id).name_starts_with("*"), 0),
            (Keys::of(acme.id), names.len()),
        ] {
            let whole = ids(&store.get(query.clone().page(100)).await?);
            assert_eq!(whole.len(), rows, "{query:?}");
            for size in [1, 3, 7, 50, 51] {
                let mut read = Vec::new();
                let mut next: Option<Cursor> = None;
                loop {
                    let part = query.clone().page(size);
                    let part = store.get(match next {
                        Some(cursor) => part.after(cursor),
                        None => part,
                    });
                    let part = part.await?;
                    read.extend(ids(&part));
                    next = part.next;
                    if next.is_none() {
                        break;
                    }
                    assert_eq!(part.items.len(), usize::from(size), "only the last page is short");
                }
                assert_eq!(read, whole, "{query:?} by {size}");
            }
        }
    }
    Ok(())
}

async fn refused<T>(store: &DynStore, query: impl TypedQuery<Output = Paged<T>>) -> bool {
    let answer = store.get(query).await.map(drop);
    answer.is_err_and(|error| error.kind() == StoreErrorKind::InvalidCursor)
}

#[tokio::test]
async fn cursor_fits_equal_queries_and_no_other() -> Result<(), Failure> {
    let stores = stores().await;
    for (store, _database) in &stores {
        let issuer = Issuer::new(store.clone())?;
        let (acme, records) = keys(store, &["a1", "A2", "a3", "b"]).await?;
        let (other, _) = keys(store, &["a1", "a2", "a3"]).await?;
        issuer
            .update_organization(acme.id, |acme| acme.name = "Acme".to_owned())
            .await?;
        issuer
            .update_organization(acme.id, |acme| acme.name = "acme".to_owned())
            .await?;
        let active = || Keys::of(acme.id).status(KeyStatus::Active);
        let cursor = |page: Paged<StoredKey>| page.next.ok_or("a next page");
        let by_id = cursor(store.get(active().page(2)).await?)?;
        let by_name = cursor(store.get(active().name_starts_with("A").page(2)).await?)?;

        // Equal: any page size, filters in another order, a name that is searched alike.
        let rest = store.get(active().page(1).after(by_id.clone())).await?;
        assert_eq!(ids(&rest), [records[2].id]);
        let same = Keys::of(acme.id).name_starts_with("ａ").status(KeyStatus::Active);
        assert_eq!(ids(&store.get(same.after(by_name.clone())).await?), [records[2].id]);
        // An offset counts from the cursor.
        let skipped = store.get(active().after(by_id.clone()).offset(1)?).await?;
        assert_eq!(ids(&skipped), [records[3].id]);
        // It has a place, not a row: in another store with such a list it means the same.
        for (elsewhere, _) in &stores {
            assert!(elsewhere.get(active().after(by_id.clone())).await.is_ok());
        }

        for cursor in [by_id, by_name.clone()] {
            assert!(
                refused(
                    store,
                    Keys::of(other.id).status(KeyStatus::Active).after(cursor.clone())
                )
                .await
            );
            assert!(refused(store, Keys::of(acme.id).after(cursor.clone())).await);
            assert!(refused(store, active().status(KeyStatus::Revoked).after(cursor.clone())).await);
            assert!(refused(store, active().name_starts_with("").after(cursor.clone())).await);
            assert!(refused(store, active().lookup_starts_with("").after(cursor.clone())).await);
            assert!(refused(store, active().user("alice".parse()?).after(cursor.clone())).await);
            assert!(refused(store, Organizations::all().after(cursor.clone())).await);
            assert!(refused(store, AuditEvents::of(acme.id).after(cursor)).await);
        }
        assert!(refused(store, active().name_starts_with("a1").after(by_name)).await);
        let events = store.get(AuditEvents::of(acme.id).page(1)).await?;
        let event = events.next.ok_or("a next page")?;
        assert!(refused(store, AuditEvents::of(other.id).after(event.clone())).await);
        assert!(refused(store, AuditEvents::of(acme.id).key(records[0].id).after(event)).await);
    }
    Ok(())
}

#[tokio::test]
async fn page_of_size_zero_has_one_row_and_the_largest_1000() -> Result<(), Failure> {
    for (store, _database) in stores().await {
        let (acme, _) = keys(&store, &["k"; 1001]).await?;
        for (size, rows) in [(0, 1), (1, 1), (1000, 1000), (1001, 1000), (u16::MAX, 1000)] {
            assert_eq!(store.get(Keys::of(acme.id).page(size)).await?.items.len(), rows);
        }
        let of = || Keys::of(acme.id);
        assert_eq!(store.get(of().offset(1000)?).await?.items.len(), 1);
        assert_eq!(store.get(of().offset(1001)?).await?.items.len(), 0);
        assert_eq!(store.get(of().offset(10_000)?).await?.items.len(), 0);
        assert!(of().offset(10_001).is_err() && of().offset(u32::MAX).is_err());
        assert!(
            store.get(of().page(1000).offset(1)?).await?.next.is_none(),
            "a last page that is full"
        );
    }
    Ok(())
}
