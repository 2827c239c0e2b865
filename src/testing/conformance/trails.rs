//! The audit trail verifies as it is stored, forgets persons, and is cut from its start.

use super::bench::{Bench, NOW, event};
use crate::audit::{
    AuditAction, AuditEntry, AuditEvent, AuditHead, AuditKey, AuditKeys, AuditRow, Caller, ChainCheck, Forget,
};
use crate::key::{Actor, KeyId, OrganizationId, Timestamp};
use crate::store::query::{AuditChains, AuditEvents, AuditRows, FirstAudited};
use crate::store::{Commit, ManagedStore, StoreErrorKind, Write};

/// What is stored is what was hashed, under the key of the commit.
pub(super) async fn stored<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await.id;
    let keys = keys(bench);
    let mut linked = Vec::new();
    let mut head = AuditHead::default();
    for number in 0..5 {
        let mut commit = Commit::new();
        commit.audit_key = keys.current().cloned();
        commit.audit = vec![personal(organization, "alice", "192.0.2.1").detail("number", number.to_string())];
        linked.extend(
            commit
                .audit
                .iter()
                .map(|event| head.link(event.clone(), commit.id, keys.current())),
        );
        bench.commit("audit events under a key", commit).await;
    }
    bench.same(
        "the list of a keyed chain",
        list(bench, AuditEvents::of(organization)).await,
        linked.clone(),
    );
    let rows: Vec<AuditRow> = linked.iter().map(AuditRow::from).collect();
    bench.same(
        "the rows of a chain",
        rows_of(bench, organization, 0).await,
        rows.clone(),
    );
    bench.same(
        "the rows after one",
        rows_of(bench, organization, 3).await,
        rows[3..].to_vec(),
    );
    let mut few = AuditRows::after(organization, 1);
    few.most = 2;
    bench.same("some rows", bench.get("reading rows", few).await, rows[1..3].to_vec());
    let first = bench.get("reading who has events", FirstAudited(organization)).await;
    bench.same("the first organization with events", first, Some(organization));
    verify(bench, organization, &keys).await;
}

/// Values and salt are gone, and commitments stay. Those of others stay too.
pub(super) async fn forgotten<S: ManagedStore>(bench: &Bench<S>) {
    let [one, two] = [bench.organization().await.id, bench.organization().await.id];
    let name = format!("user {}", KeyId::new());
    let address = address();
    let events = |organization| {
        [
            personal(organization, &name, "192.0.2.1"),
            personal(organization, "other", "192.0.2.1").user(name.parse().ok()),
            personal(organization, "other", &address),
            personal(organization, "other", "192.0.2.1"),
            event(organization),
        ]
    };
    let mut commit = Commit::new();
    commit.audit = [events(one), events(two)].concat();
    bench.commit("audit events", commit).await;
    let Ok(user) = name.parse() else { return };
    let by_user = Forget::user(user);
    let by_address = match address.parse() {
        Ok(address) => Forget::address(address),
        Err(_) => return,
    };
    for (forget, of_one, of_two) in [
        (by_user.clone().of(one), vec![1, 2], vec![]),
        (by_address, vec![1, 2, 3], vec![3]),
        (by_user, vec![1, 2, 3], vec![1, 2, 3]),
        (Forget::everyone().of(two), vec![1, 2, 3], vec![1, 2, 3, 4]),
    ] {
        bench
            .commit(
                "forgetting a person",
                Commit::new().write(Write::ForgetPersonal(forget)),
            )
            .await;
        for (organization, should) in [(one, of_one), (two, of_two)] {
            let entries = list(bench, AuditEvents::of(organization)).await;
            let gone = entries.iter().filter(|entry| entry.event.personal.are_forgotten());
            bench.same(
                "the events without their persons",
                gone.map(|entry| entry.seq).collect(),
                should,
            );
            let kept = entries
                .iter()
                .filter(|entry| entry.event.personal.get("address").is_some());
            let of_nobody = 1;
            let forgotten = entries
                .iter()
                .filter(|entry| entry.event.personal.are_forgotten())
                .count();
            bench.same(
                "the number of others",
                kept.count(),
                entries.len() - forgotten - of_nobody,
            );
            verify(bench, organization, &AuditKeys::default()).await;
        }
    }
}

/// Addresses and user agents go before all else.
pub(super) async fn origins<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await.id;
    // Times that no other rule has, from before theirs: rules may share a store.
    let at = [1, 2].map(Timestamp::from_millis);
    let mut commit = Commit::new();
    commit.audit = at
        .map(|at| AuditEvent {
            at,
            ..personal(organization, "alice", "192.0.2.1")
        })
        .to_vec();
    bench.commit("audit events", commit).await;
    let forget = Commit::new().write(Write::ForgetOrigins { before: at[1] });
    bench.commit("forgetting addresses", forget).await;
    let entries = list(bench, AuditEvents::of(organization)).await;
    let told = |name: &str| -> Vec<bool> {
        let entries = entries.iter();
        entries.map(|entry| entry.event.personal.get(name).is_some()).collect()
    };
    bench.same("the events with an address", told("address"), vec![false, true]);
    bench.same("the events with a name", told("actor.name"), vec![true, true]);
    bench.same("the events with a network", told("network"), vec![true, true]);
    verify(bench, organization, &AuditKeys::default()).await;
}

/// Events are found by what they say, in order, in pages.
pub(super) async fn lists<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await.id;
    let key = KeyId::new();
    let at = |minute: i64| Timestamp::from_millis(NOW.as_millis() + minute * 60_000);
    let made = |minute, actor: &Actor, action: &AuditAction| {
        AuditEvent::new(organization, at(minute), actor.clone(), action.clone())
    };
    let (alice, operator) = (Actor::user("alice"), Actor::operator("alice"));
    let (one, two) = (AuditAction::new("one"), AuditAction::new("two"));
    let mut commit = Commit::new();
    // Two of one time, and one whose clock was behind.
    commit.audit = vec![
        made(5, &alice, &one).key(key),
        made(5, &operator, &two).key(key),
        made(3, &alice, &two),
        made(9, &alice, &one).key(KeyId::new()),
    ];
    bench.commit("audit events", commit).await;
    let of = || AuditEvents::of(organization);
    for (what, query, should) in [
        ("the events of an organization", of(), vec![1, 2, 3, 4]),
        ("the events of a key", of().key(key), vec![1, 2]),
        (
            "the events of a key anywhere",
            AuditEvents::default().key(key),
            vec![1, 2],
        ),
        ("the events of an actor", of().actor(alice.clone()), vec![3, 1, 4]),
        ("the events with an action", of().action(two.clone()), vec![3, 2]),
        ("the events since a time", of().since(at(5)), vec![1, 2, 4]),
        ("the events until a time", of().until(at(5)), vec![3]),
        ("the events of a time", of().since(at(4)).until(at(9)), vec![1, 2]),
        (
            "the events of an actor and a time",
            of().actor(alice).since(at(4)),
            vec![1, 4],
        ),
        ("the events of a key with an action", of().key(key).action(two), vec![2]),
    ] {
        let numbers = |entries: Vec<AuditEntry>| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
        bench.same(what, numbers(list(bench, query.clone()).await), should.clone());
        let mut pages = Vec::new();
        let mut page = bench.get(what, query.clone().page(1)).await;
        loop {
            pages.append(&mut page.items);
            let Some(next) = page.next else { break };
            page = bench.get(what, query.clone().page(1).after(next)).await;
        }
        bench.same(&format!("{what}, in pages"), numbers(pages), should);
    }
}

/// The start of a chain is deleted, and the rest verifies.
pub(super) async fn pruned<S: ManagedStore>(bench: &Bench<S>) {
    let [one, two] = [bench.organization().await.id, bench.organization().await.id];
    let keys = keys(bench);
    let mut commit = Commit::new();
    commit.audit_key = keys.current().cloned();
    commit.audit = [one, one, one, one, two, two]
        .map(|id| personal(id, "alice", "192.0.2.1"))
        .to_vec();
    bench.commit("audit events", commit).await;
    let last = list(bench, AuditEvents::of(one)).await;
    let prune = |through: u64| {
        let event = AuditEvent::new(one, NOW, Actor::system(), AuditAction::AUDIT_PRUNED);
        let mut commit = Commit::new()
            .write(Write::PruneAudit {
                organization: one,
                through,
            })
            .audit(event.detail("through", through.to_string()));
        commit.audit_key = keys.current().cloned();
        commit
    };
    bench
        .fails("pruning what is not there", prune(9), StoreErrorKind::NotFound)
        .await;
    bench.commit("pruning the start of a chain", prune(3)).await;
    bench
        .fails("pruning it again", prune(3), StoreErrorKind::Conflict)
        .await;
    bench.fails("pruning less", prune(2), StoreErrorKind::Conflict).await;
    let left = list(bench, AuditEvents::of(one)).await;
    let numbers: Vec<u64> = left.iter().map(|entry| entry.seq).collect();
    bench.same("the events that are left", numbers, vec![4, 5]);
    let chain = bench
        .get("reading a chain", AuditChains::from(one))
        .await
        .into_iter()
        .next();
    let pruned = chain
        .filter(|chain| chain.organization_id == one)
        .map(|chain| chain.pruned);
    let should = last.get(2).map(|entry| AuditHead {
        seq: entry.seq,
        hash: entry.hash,
    });
    bench.same("the end of what was deleted", pruned, should);
    bench.same(
        "the events of another chain",
        list(bench, AuditEvents::of(two)).await.len(),
        2,
    );
    for organization in [one, two] {
        verify(bench, organization, &keys).await;
    }
}

async fn verify<S: ManagedStore>(bench: &Bench<S>, organization: OrganizationId, keys: &AuditKeys) {
    let chains = bench.get("reading chains", AuditChains::from(organization)).await;
    let Some(chain) = chains
        .into_iter()
        .next()
        .filter(|chain| chain.organization_id == organization)
    else {
        bench.broken("a chain has no ends");
    };
    let mut check = ChainCheck::new(keys, &chain, None);
    for row in rows_of(bench, organization, 0).await {
        check.row(&row);
    }
    check.end(chain.head);
    if let Some(problem) = check.problems().first() {
        bench.broken(problem.to_string());
    }
}

async fn rows_of<S: ManagedStore>(bench: &Bench<S>, organization: OrganizationId, after: u64) -> Vec<AuditRow> {
    bench.get("reading rows", AuditRows::after(organization, after)).await
}

async fn list<S: ManagedStore>(bench: &Bench<S>, query: AuditEvents) -> Vec<AuditEntry> {
    bench.get("a list of audit events", query.page(100)).await.items
}

fn personal(organization: OrganizationId, user: &str, address: &str) -> AuditEvent {
    let caller = Caller::new(Actor::user(user)).name("Alice Adams");
    let caller = match address.parse() {
        Ok(address) => caller.address(address),
        Err(_) => caller,
    };
    caller.describe(AuditEvent::new(
        organization,
        NOW,
        caller.actor().clone(),
        AuditAction::new("tried"),
    ))
}

/// An address that no other rule has used.
fn address() -> String {
    let number = KeyId::new().as_uuid().as_u128();
    std::net::Ipv6Addr::from_bits(0xfd << 120 | number >> 8).to_string()
}

fn keys<S: ManagedStore>(bench: &Bench<S>) -> AuditKeys {
    match AuditKey::new("0", &[7; 32]) {
        Ok(key) => AuditKeys::new(vec![key], true),
        Err(error) => bench.broken(error.to_string()),
    }
}
