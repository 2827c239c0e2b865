//! Whose turn it is.

use super::*;

#[test]
fn clients_take_turns_in_any_order_of_arrival() {
    let mut queue = filled(&[1, 1, 1, 1, 2, 2, 3]);
    let order: Vec<usize> = std::iter::from_fn(|| pop(&mut queue)).collect();
    assert_eq!(order, [0, 4, 6, 1, 5, 2, 3]);
}

#[test]
fn turn_counts_after_client_has_left_queue() {
    let mut queue = FairQueue::new(4);
    push(&mut queue, 1, 0);
    assert_eq!(pop(&mut queue), Some(0));
    push(&mut queue, 1, 1);
    push(&mut queue, 2, 2);
    assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(2), Some(1)));
}

#[test]
fn clients_with_wrong_keys_come_last_and_take_turns() {
    let mut queue = filled(&[1, 2, 1, 2, 3, 3, 3]);
    let mut order = Vec::new();
    while let Some((group, job)) = pop_of(&mut queue) {
        order.push(job);
        if group != client(3) {
            queue.record_verdict(group, false);
        }
    }
    assert_eq!(order, [0, 1, 4, 5, 6, 2, 3]);
}

#[test]
fn wrong_key_counts_at_its_turn_when_found_late() {
    let mut queue = filled(&[1, 2, 3]);
    assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(0), Some(1)));
    queue.record_verdict(client(2), false);
    assert_eq!(pop(&mut queue), Some(2));
    queue.record_verdict(client(1), false);
    push(&mut queue, 2, 4);
    push(&mut queue, 1, 5);
    assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(5), Some(4)));
}

#[test]
fn every_second_turn_is_a_proven_clients() {
    let mut queue = FairQueue::new(9);
    take_turn(&mut queue, 1, true);
    take_turn(&mut queue, 2, true);
    take_turn(&mut queue, 2, false);
    for (job, group) in [(2, 2), (3, 3), (4, 4), (5, 5), (10, 1), (11, 1), (6, 6)] {
        push(&mut queue, group, job);
    }
    let order: Vec<usize> = std::iter::from_fn(|| pop(&mut queue)).collect();
    assert_eq!(order, [10, 3, 11, 4, 5, 6, 2]);
}

#[test]
fn this_process_is_served_during_flood_of_new_clients() {
    let mut queue = FairQueue::new(4);
    // Each from a network of its own, which had no turn yet.
    let push = |queue: &mut FairQueue<usize>, number: u8| {
        let newcomer = network(&format!("192.0.{number}.1"));
        assert!(matches!(queue.push(newcomer, None, number.into()), Push::Queued));
    };
    assert!(matches!(queue.push(ClientGroup::THIS_PROCESS, None, 0), Push::Queued));
    assert_eq!(pop(&mut queue), Some(0), "its first turn");
    for number in 1..=4 {
        push(&mut queue, number);
    }
    assert!(matches!(
        queue.push(ClientGroup::THIS_PROCESS, None, 99),
        Push::Displaced(_, 1..=4)
    ));
    let mut waited = 0;
    for number in 5.. {
        waited += 1;
        let (group, job) = pop_of(&mut queue).unwrap();
        if job == 99 {
            break;
        }
        queue.record_verdict(group, false);
        push(&mut queue, number);
    }
    assert!(waited <= 2, "{waited}");
}

#[test]
fn this_process_takes_turns_with_client_that_was_wrong() {
    for was_right in [false, true] {
        let mut queue = FairQueue::new(8);
        take_turn(&mut queue, 1, false);
        take_turn(&mut queue, 1, was_right);
        for job in 1..=3 {
            push(&mut queue, 1, job);
        }
        let mut order = Vec::new();
        for _ in 0..8 {
            // As an import does: its next job is there whenever one has begun.
            if !queue.iter().any(|job| *job == 99) {
                assert!(matches!(queue.push(ClientGroup::THIS_PROCESS, None, 99), Push::Queued));
            }
            let (group, job) = pop_of(&mut queue).unwrap();
            if group == client(1) {
                queue.record_verdict(group, was_right);
            }
            order.push(job);
        }
        let waits = |job| order.iter().position(|other| *other == job);
        assert!(waits(3).is_some_and(|turns| turns < 7), "{order:?}");
    }
}
