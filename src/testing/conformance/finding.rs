//! Rules of `find`.

use super::bench::{Bench, lookup, new_key, new_secret, new_text, secret};
use crate::store::{Candidate, ManagedStore};

pub(super) async fn unknown<S: ManagedStore>(bench: &Bench<S>) {
    let answer = bench.find(&lookup(&new_text())).await;
    bench.holds(answer.is_none(), "a lookup that nobody inserted was found");
    bench.inserted().await;
    let answer = bench.find(&lookup(&new_text())).await;
    bench.holds(
        answer.is_none(),
        "a lookup that nobody inserted was found beside one that was",
    );
}

pub(super) async fn one_of_two<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, mut key) = bench.inserted().await;
    let (other_organization, other) = bench.inserted().await;
    bench.add_secret(&mut key, new_secret("sha256:11")).await;
    for secret in &key.secrets {
        let should = Candidate::new(key.record.clone(), secret.clone(), organization.clone());
        bench.same("the candidate", bench.find(&secret.lookup).await, Some(should));
    }
    let should = Candidate::new(other.record, other.secrets[0].clone(), other_organization);
    let answer = bench.find(&should.secret.lookup.clone()).await;
    bench.same("the candidate of another key", answer, Some(should));
}

pub(super) async fn exact<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let base = new_text().replace(|c: char| c.is_ascii_digit(), "x");
    let kin = [
        base.clone(),
        base.to_uppercase(),
        base[..16].to_owned(),
        format!("{base}_"),
        format!("{base}%"),
        format!("{base}*"),
        format!("{base}'--"),
        format!("{base}\"\\{{}}"),
    ];
    let mut inserted = Vec::new();
    for text in &kin {
        let missing = bench.find(&lookup(text)).await;
        bench.holds(missing.is_none(), format!("{text} was found by another lookup like it"));
        let mut key = new_key(&organization);
        key.secrets = vec![secret(text, "sha256:00")];
        bench.insert(&key).await;
        inserted.push(key);
    }
    for key in inserted {
        let lookup = &key.secrets[0].lookup;
        let found = bench
            .find(lookup)
            .await
            .map(|candidate| (candidate.record.id, candidate.secret));
        let should = Some((key.record.id, key.secrets[0].clone()));
        bench.same(&format!("what {} finds", lookup.as_str()), found, should);
    }
}

pub(super) async fn long<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    for length in [22, 23, 24, 25, 63, 64, 65, 127, 128] {
        let mut shared = new_text().repeat(4);
        shared.truncate(length - 1);
        // Two that differ in their last character show whether one of them was cut.
        for last in ["a", "b"] {
            let mut key = new_key(&organization);
            key.secrets = vec![secret(&format!("{shared}{last}"), "sha256:00")];
            bench.insert(&key).await;
            let found = bench.find(&key.secrets[0].lookup).await;
            let found = found.map(|candidate| (candidate.record.id, candidate.secret));
            let should = Some((key.record.id, key.secrets[0].clone()));
            bench.same(&format!("what a lookup of {length} characters finds"), found, should);
        }
    }
}
