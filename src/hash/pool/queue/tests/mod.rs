//! The rules of the queue, with jobs that are numbers.

mod going_ahead;
mod networks;
mod places;
mod turns;

use std::net::IpAddr;

use super::*;
use crate::key::{Lookup, OrganizationId};

fn client(number: u8) -> ClientGroup {
    ClientGroup::of(Some(IpAddr::from([192, 0, 2, number])))
}

fn network(text: &str) -> ClientGroup {
    ClientGroup::of(text.parse().ok())
}

fn filled(groups: &[u8]) -> FairQueue<usize> {
    let mut queue = FairQueue::new(groups.len());
    for (job, group) in groups.iter().enumerate() {
        assert!(matches!(queue.push(client(*group), None, job), Push::Queued));
    }
    queue
}

fn jobs(queue: &FairQueue<usize>) -> Vec<usize> {
    queue.iter().copied().collect()
}

fn push(queue: &mut FairQueue<usize>, group: u8, job: usize) {
    assert!(matches!(queue.push(client(group), None, job), Push::Queued));
}

fn pop_of(queue: &mut FairQueue<usize>) -> Option<(ClientGroup, usize)> {
    let (next, ..) = queue.next(false)?;
    queue.begin(next)
}

fn pop(queue: &mut FairQueue<usize>) -> Option<usize> {
    pop_of(queue).map(|(_, job)| job)
}

/// Lets this client take a turn in an empty queue.
fn take_turn(queue: &mut FairQueue<usize>, group: u8, was_right: bool) {
    push(queue, group, 0);
    assert_eq!(pop(queue), Some(0));
    queue.record_verdict(client(group), was_right);
}

fn ahead(organization: OrganizationId, lookup: u64) -> Option<Ahead> {
    let lookup = Lookup::new(&format!("{lookup:0>12}")).unwrap();
    Some(Ahead { organization, lookup })
}
