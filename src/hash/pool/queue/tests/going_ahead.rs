//! Keys that something speaks for.

use super::*;

#[test]
fn keys_that_go_ahead_have_three_of_four_turns() {
    let mut queue = FairQueue::new(64);
    for job in 0..8 {
        assert!(matches!(queue.push(client(1), None, job), Push::Queued));
    }
    let organization = OrganizationId::new();
    for job in 10..19 {
        assert!(matches!(
            queue.push(client(2), ahead(organization, job), job as usize),
            Push::Queued
        ));
    }
    let order: Vec<usize> = std::iter::from_fn(|| pop(&mut queue)).take(13).collect();
    assert_eq!(order, [10, 11, 12, 0, 13, 14, 15, 1, 16, 17, 18, 2, 3]);
}

#[test]
fn organizations_take_turns_ahead_and_each_lookup_has_one_job() {
    let mut queue = FairQueue::new(64);
    let [many, few] = [OrganizationId::new(), OrganizationId::new()];
    for job in 0..5 {
        assert!(matches!(
            queue.push(client(1), ahead(many, job), job as usize),
            Push::Queued
        ));
    }
    for _ in 0..5 {
        assert!(matches!(queue.push(client(1), ahead(many, 4), 50), Push::Queued));
    }
    assert!(matches!(queue.push(client(1), ahead(few, 9), 9), Push::Queued));
    let order: Vec<usize> = std::iter::from_fn(|| pop(&mut queue)).take(7).collect();
    assert_eq!(order, [0, 9, 1, 50, 2, 3, 4]);
}

#[test]
fn neither_kind_takes_the_places_of_the_other() {
    let organization = OrganizationId::new();
    // A flood of other keys gives way to keys that go ahead, up to three quarters.
    let mut queue = FairQueue::new(8);
    for job in 0..8 {
        push(&mut queue, 1, job);
    }
    for lookup in 10..16 {
        assert!(matches!(
            queue.push(client(2), ahead(organization, lookup), 10),
            Push::Displaced(_, 0..8)
        ));
    }
    assert!(matches!(
        queue.push(client(2), ahead(organization, 16), 16),
        Push::Refused(16)
    ));
    // Another organization has fewer.
    let other = OrganizationId::new();
    assert!(matches!(
        queue.push(client(2), ahead(other, 20), 20),
        Push::Displaced(_, 10)
    ));
    // And the other way round, for the quarter.
    let mut queue = FairQueue::new(8);
    for lookup in 10..18 {
        assert!(matches!(
            queue.push(client(2), ahead(organization, lookup), 10),
            Push::Queued
        ));
    }
    for job in [0, 1] {
        assert!(matches!(queue.push(client(1), None, job), Push::Displaced(_, 10)));
    }
    assert!(matches!(queue.push(client(1), None, 2), Push::Refused(2)));
}

#[test]
fn worker_that_rests_gives_no_turn_to_suspects() {
    let mut queue = FairQueue::new(64);
    take_turn(&mut queue, 1, false);
    push(&mut queue, 1, 0);
    let organization = OrganizationId::new();
    // Of the same client: what speaks for a key counts for more than wrong keys of its neighbours.
    for job in 10..13 {
        assert!(matches!(
            queue.push(client(1), ahead(organization, job), job as usize),
            Push::Queued
        ));
    }
    assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(10), Some(11)));
    let next = |queue: &FairQueue<usize>, rests| queue.next(rests).map(|(.., job)| *job);
    assert_eq!((next(&queue, false), next(&queue, true)), (Some(0), Some(12)));
    assert_eq!(pop(&mut queue), Some(0));
    push(&mut queue, 1, 1);
    assert_eq!(pop(&mut queue), Some(12));
    assert_eq!((next(&queue, false), next(&queue, true)), (Some(1), None));
    // A client without wrong keys does not wait.
    push(&mut queue, 2, 2);
    assert_eq!(next(&queue, true), Some(2));
}
