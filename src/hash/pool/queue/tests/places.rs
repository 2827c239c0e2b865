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
