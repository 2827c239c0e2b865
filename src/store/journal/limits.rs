//! The tighter of two lists of rate limits.

use crate::key::{LimitNames, RateLimit};

/// Limits of which each admits no more than both lists do. A name that is in one list alone is kept.
pub(super) fn tighter(one: &[RateLimit], other: &[RateLimit]) -> Vec<RateLimit> {
    let of = |all: &[RateLimit], name: &str| all.iter().find(|limit| limit.name() == name).cloned();
    let mut both: Vec<RateLimit> = one
        .iter()
        .map(|limit| match of(other, limit.name()) {
            Some(other) => tighter_of(limit, &other),
            None => limit.clone(),
        })
        .collect();
    let is_new = |limit: &&RateLimit| of(one, limit.name()).is_none();
    both.extend(other.iter().filter(is_new).cloned());
    both
}

/// The same of limits that hold below given ones. A name that `has` lacks is given no looser limit than these: it may have been an
/// override of looser ones.
pub(super) fn tighter_below(has: &[RateLimit], other: &[RateLimit], given: &[RateLimit]) -> Vec<RateLimit> {
    let given = |name: &str| given.iter().find(|limit| limit.name() == name);
    let other = other.iter().map(|limit| match given(limit.name()) {
        Some(given) if has.iter().all(|own| own.name() != limit.name()) => tighter_of(limit, given),
        _ => limit.clone(),
    });
    tighter(has, &other.collect::<Vec<_>>())
}

fn tighter_of(one: &RateLimit, other: &RateLimit) -> RateLimit {
    let (slower, faster) = match one.is_within(other) {
        true => return one.clone(),
        false if other.is_within(one) => return other.clone(),
        false if is_slower(one, other) => (one, other),
        false => (other, one),
    };
    let burst = slower.burst_size().min(faster.burst_size()).get();
    let cost = slower.cost_per_request().max(faster.cost_per_request()).get();
    let both = slower.clone().burst(burst).and_then(|limit| limit.cost(cost));
    // Out of the bounds of neither of them.
    both.unwrap_or_else(|_| slower.clone())
}

fn is_slower(one: &RateLimit, other: &RateLimit) -> bool {
    let rate = |limit: &RateLimit, per: &RateLimit| u64::from(limit.limit().get()).saturating_mul(per.per().as_secs());
    rate(one, other) <= rate(other, one)
}

/// Whether both lists have the same limits.
pub(super) fn are_same(one: &[RateLimit], other: &[RateLimit]) -> bool {
    one.len() == other.len() && one.iter().all(|limit| other.contains(limit))
}

/// What a level has of its own, so that these limits hold below the ones that it is given: overrides, and names that it lifts.
pub(super) fn own_of(limits: &[RateLimit], given: &[RateLimit]) -> (Vec<RateLimit>, LimitNames) {
    let own = limits.iter().filter(|limit| !given.contains(limit)).cloned().collect();
    let has = |name: &str| limits.iter().any(|limit| limit.name() == name);
    let lifted = given.iter().map(RateLimit::name).filter(|name| !has(name));
    // Of names that a set has already.
    (own, LimitNames::new(lifted).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Vec<RateLimit> {
        let limits = text.split_ascii_whitespace();
        limits.map(|limit| limit.parse().unwrap()).collect()
    }

    #[test]
    fn tighter_of_two_lists_is_within_both() {
        for (one, other, both) in [
            ("", "", ""),
            ("a=5/1s", "", "a=5/1s"),
            ("a=5/1s", "b=5/1s", "a=5/1s b=5/1s"),
            ("a=5/1s b=1/1s", "b=2/1s a=4/1s", "a=4/1s b=1/1s"),
        ] {
            assert_eq!(tighter(&limits(one), &limits(other)), limits(both));
            assert!(are_same(&tighter(&limits(other), &limits(one)), &limits(both)));
        }
    }

    #[test]
    fn neither_of_two_is_within_the_other_and_the_result_is() {
        let [one, other] = ["a=10/1s", "a=500/60s"].map(|text| text.parse::<RateLimit>().unwrap());
        assert!(!one.is_within(&other) && !other.is_within(&one));
        for both in [tighter_of(&one, &other), tighter_of(&other, &one)] {
            assert!(both.is_within(&one) && both.is_within(&other), "{both:?}");
        }
    }

    #[test]
    fn limit_that_was_lifted_is_there_again_and_no_looser_than_what_is_given() {
        let given = limits("a=8/60s");
        for (has, other, both) in [
            ("b=1/1s", "a=90/60s", "b=1/1s a=8/60s"),
            ("b=1/1s", "a=7/60s", "b=1/1s a=7/60s"),
            ("a=90/60s", "a=100/60s", "a=90/60s"),
        ] {
            assert_eq!(tighter_below(&limits(has), &limits(other), &given), limits(both));
        }
    }

    #[test]
    fn own_limits_override_and_lift_what_is_given() {
        let given = limits("a=1/1s b=1/1s c=1/1s");
        let (own, lifted) = own_of(&limits("a=1/1s b=2/1s d=1/1s"), &given);
        assert_eq!((own, lifted), (limits("b=2/1s d=1/1s"), "c".parse().unwrap()));
    }
}
