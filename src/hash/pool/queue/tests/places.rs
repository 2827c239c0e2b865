//! Who loses a place in a full queue.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn newest_job_of_largest_client_is_displaced() {
    let mut queue = filled(&[1, 2, 1, 1, 2]);
    assert!(matches!(queue.push(client(3), None, 99), Push::Displaced(_, 3)));
    assert_eq!(jobs(&queue), [0, 1, 2, 4, 99]);
}

#[test]
fn largest_client_is_refused_itself() {
    let mut queue = filled(&[1, 2, 1, 1, 2]);
    assert!(matches!(queue.push(client(1), None, 99), Push::Refused(99)));
    assert_eq!(jobs(&queue), [0, 1, 2, 3, 4]);
}

/// What becomes of the job of a newcomer, and which job leaves in its place, in many tries.
fn losers(groups: &[u8], newcomer: u8) -> BTreeSet<usize> {
    (0..200)
        .map(|_| match filled(groups).push(client(newcomer), None, 99) {
            Push::Displaced(_, job) | Push::Refused(job) => job,
            Push::Queued => panic!("it is full"),
        })
        .collect()
}

#[test]
fn chance_decides_between_equals() {
    assert_eq!(losers(&[1, 1, 2, 2], 2), [99].into(), "it would have the most");
    assert_eq!(losers(&[1, 1, 1, 2, 2], 2), [2, 99].into());
    assert_eq!(losers(&[1, 2], 3), [0, 1, 99].into());
    assert_eq!(losers(&[1, 1, 1, 2, 2, 2], 3), [2, 5].into(), "the newest of either");
}

#[test]
fn better_standing_breaks_a_tie() {
    let mut queue = FairQueue::new(2);
    take_turn(&mut queue, 1, false);
    take_turn(&mut queue, 5, true);
    push(&mut queue, 1, 1);
    push(&mut queue, 2, 2);
    assert!(matches!(queue.push(client(3), None, 3), Push::Displaced(_, 1)));
    assert!(matches!(queue.push(client(1), None, 4), Push::Refused(4)));
    assert!(matches!(queue.push(client(5), None, 6), Push::Displaced(_, 2 | 3)));
    assert!(matches!(queue.push(client(5), None, 7), Push::Refused(7)));
    assert_eq!(jobs(&queue).last(), Some(&6));
}

/// Were they safe, clients from as many networks as there are places would keep all others out.
#[test]
fn proven_clients_lose_places_while_newcomers_have_less_than_half() {
    let mut queue = FairQueue::new(8);
    let of = |number: u8| ClientGroup::of(Some(IpAddr::from([10, 0, number, 1])));
    for number in 0..8 {
        assert!(matches!(queue.push(of(number), None, 0), Push::Queued));
        assert_eq!(pop(&mut queue), Some(0));
        queue.record_verdict(of(number), true);
    }
    for number in 0..8 {
        assert!(matches!(
            queue.push(of(number), None, usize::from(number)),
            Push::Queued
        ));
    }
    for number in 8..12 {
        let pushed = queue.push(of(number), None, usize::from(number));
        assert!(matches!(pushed, Push::Displaced(_, 0..8)));
    }
    for number in 12..100 {
        match queue.push(of(number), None, usize::from(number)) {
            Push::Displaced(_, job) | Push::Refused(job) => assert!(job >= 8),
            Push::Queued => panic!("it is full"),
        }
    }
    // Those whose last key was wrong have no such share.
    let mut queue = FairQueue::new(4);
    for number in 0..4 {
        assert!(matches!(queue.push(of(number), None, 0), Push::Queued));
        assert_eq!(pop(&mut queue), Some(0));
        queue.record_verdict(of(number), number > 0);
    }
    for number in 1..5 {
        assert!(matches!(
            queue.push(of(number), None, usize::from(number)),
            Push::Queued
        ));
    }
    assert!(matches!(queue.push(of(0), None, 0), Push::Refused(0)));
}

/// A flood has the queue full all the time.
#[test]
fn newcomer_to_a_full_queue_costs_the_same_however_long_it_is() {
    let costs = |places: u32| {
        let mut queue = FairQueue::new(places as usize);
        let of = |number: u32| ClientGroup::of(Some(IpAddr::from((0x0a00_0001 + (number << 8)).to_be_bytes())));
        for number in 0..places {
            assert!(matches!(queue.push(of(number), None, number as usize), Push::Queued));
        }
        let before = queue.clients.standings.looked_up();
        for number in places..places + 100 {
            assert!(!matches!(queue.push(of(number), None, number as usize), Push::Queued));
        }
        let pushed = queue.clients.standings.looked_up() - before;
        let compared = std::cell::Cell::new(0);
        let found = queue.find_by(|job| {
            compared.set(compared.get() + 1);
            job.cmp(&(places as usize + 200))
        });
        assert!(found.is_none());
        (pushed, compared.get())
    };
    let (pushed, compared) = costs(4_096);
    assert!(pushed <= 2 * costs(128).0, "{pushed}");
    assert!(compared <= 16, "{compared}");
}

#[test]
fn take_if_takes_jobs_from_anywhere() {
    let mut queue = filled(&[1, 2, 1, 1, 2]);
    let taken: Vec<usize> = queue
        .take_if(|job| job % 2 == 0)
        .into_iter()
        .map(|(_, job)| job)
        .collect();
    assert_eq!(taken, [0, 2, 4]);
    assert_eq!(jobs(&queue), [1, 3]);
}

proptest! {
    #[test]
    fn no_client_gets_less_than_its_fair_share(arrivals in prop::collection::vec(0u8..4, 1..200)) {
        const CAPACITY: usize = 8;
        let mut queue = FairQueue::new(CAPACITY);
        let mut asked = [0usize; 4];
        for (job, group) in arrivals.iter().enumerate() {
            let before = queue.len();
            let pushed = queue.push(client(*group), None, (*group, job));
            asked[usize::from(*group)] += 1;
            prop_assert!(queue.len() <= CAPACITY);
            prop_assert!(queue.len() >= before);
            prop_assert_eq!(matches!(pushed, Push::Queued), queue.len() > before);
            for group in 0u8..4 {
                let has = queue.iter().filter(|(of, _)| *of == group).count();
                prop_assert!(has >= asked[usize::from(group)].min(CAPACITY / 4));
            }
        }
    }
}
