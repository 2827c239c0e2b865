//! Who exported what.

use std::io::{self, Write};

use tower_api_key::ExportFormat;
use tower_api_key::audit::{AuditAction, AuditEvent};
use tower_api_key::store::StoreErrorKind;
use tower_api_key::testing::{Fault, FaultStore};

use super::*;

/// Of an event: who did it, and what it says.
fn said(event: &AuditEvent) -> (&str, &str, Vec<(&str, &str)>) {
    let details = event.details.iter().map(|(name, text)| (&**name, &**text));
    (event.action.as_str(), event.actor.id(), details.collect())
}

async fn last_two<S: ManagedStore + Clone>(trail: &Trail<S>, of: OrganizationId) -> [AuditEvent; 2] {
    let mut entries = trail.entries(of).await;
    let last = entries.pop().unwrap().event;
    [entries.pop().unwrap().event, last]
}

#[tokio::test]
async fn export_names_who_took_what_and_how_much() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let revoked = AuditEvents::of(acme)
        .action(AuditAction::KEY_REVOKED)
        .since(Timestamp::from_millis(0));
    let mut out = Vec::new();
    let events = trail
        .alice()
        .export_audit(revoked, ExportFormat::Csv, &mut out)
        .await
        .unwrap();
    assert_eq!(events, 1);
    let [started, ended] = last_two(&trail, acme).await;
    let asked = [
        ("action", "key.revoked"),
        ("since", "1970-01-01T00:00:00Z"),
        ("format", "csv"),
    ];
    assert_eq!(said(&started), ("audit.export_started", "alice", asked.to_vec()));
    let whole = [&asked[..], &[("events", "1"), ("is_whole", "true")]].concat();
    assert_eq!(said(&ended), ("audit.exported", "alice", whole));
    assert_eq!(started.personal.get("address"), Some("192.0.2.7"));
}

#[tokio::test]
async fn export_of_all_or_of_nobody_is_an_event_of_the_system() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    // The first list makes the secret of cursors, which is an event.
    trail.entries(acme).await;
    let alice = trail.alice();
    let before = trail.verify(&AuditAnchors::default()).await.unwrap();
    let nobody = OrganizationId::new();
    for (list, of) in [(AuditEvents::all(), None), (AuditEvents::of(nobody), Some(nobody))] {
        alice
            .export_audit(list, ExportFormat::JsonLines, &mut Vec::new())
            .await
            .unwrap();
        let [started, ended] = last_two(&trail, system()).await;
        for event in [&started, &ended] {
            assert_eq!(event.detail_of("organization"), of.map(|id| id.to_string()).as_deref());
        }
    }
    // No chain is made for what does not exist.
    let after = trail.verify(&AuditAnchors::default()).await.unwrap();
    assert_eq!((after.chains, after.entries), (before.chains, before.entries + 4));
}

/// Takes so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or_else(|| io::Error::other("full"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn export_that_fails_says_how_far_it_came() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let list = || AuditEvents::of(acme);
    let error = trail
        .alice()
        .export_audit(list(), ExportFormat::Csv, &mut Full(200))
        .await;
    assert_eq!(error.unwrap_err().kind(), AuditErrorKind::File);
    let [_, ended] = last_two(&trail, acme).await;
    assert_eq!(
        (ended.detail_of("events"), ended.detail_of("is_whole")),
        (Some("0"), Some("false"))
    );
}

#[tokio::test]
async fn store_that_takes_no_event_gives_nothing_away() {
    let store = FaultStore::new(MemoryStore::new());
    let trail = Trail::over(store.clone(), true).await;
    let acme = trail.acme().await;
    trail.entries(acme).await;
    let mut out = Vec::new();
    // Reading the organization, and then the event.
    store.faults().next_manage(Fault::None);
    store.faults().next_manage(Fault::Error(StoreErrorKind::Unavailable));
    let error = trail
        .alice()
        .export_audit(AuditEvents::of(acme), ExportFormat::Csv, &mut out)
        .await;
    assert_eq!(error.unwrap_err().kind(), AuditErrorKind::Store);
    assert!(out.is_empty());
}
