//! A bounded queue that is fair between clients.

use std::collections::{HashMap, VecDeque};

use super::standing::{LoadOrder, Standings};
use crate::client::ClientGroup;

/// A bounded queue that no client can fill for itself.
///
/// When it is full, the client with the most jobs loses its newest one to a newcomer, if the newcomer has fewer even with
/// its new job; otherwise the newcomer is refused. So a flooding client takes at most what is beyond the fair shares of
/// the others. [Ties](LoadOrder) go to proven clients, then to those whose last wrong key is longer ago, and otherwise
/// to the clients already in the queue: swapping equals would help nobody, and two clients could displace each other
/// without end.
///
/// Clients take [turns](super::standing::TurnOrder). In the order of arrival, a newcomer would wait behind all that a
/// flood has queued before it, and on a busy machine beyond its deadline.
pub(super) struct FairQueue<T> {
    /// In the order of arrival.
    entries: VecDeque<(ClientGroup, T)>,
    capacity: usize,
    standings: Standings,
}

/// What became of a newcomer.
#[must_use]
pub(super) enum Push<T> {
    Queued,
    /// It is queued, and this job of this client had to leave.
    Displaced(ClientGroup, T),
    /// It is not queued.
    Refused(T),
}

impl<T> FairQueue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            capacity,
            standings: Standings::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Jobs beyond a smaller capacity stay.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, job)| job)
    }

    /// Whether the client's last verdict was a wrong key.
    pub(super) fn is_suspect(&self, client: ClientGroup) -> bool {
        self.standings.is_suspect(client)
    }

    pub(super) fn push(&mut self, client: ClientGroup, job: T) -> Push<T> {
        if !self.is_full() {
            self.entries.push_back((client, job));
            return Push::Queued;
        }
        let Some(victim) = self.victim(client) else {
            return Push::Refused(job);
        };
        let displaced = self.entries.remove(victim);
        self.entries.push_back((client, job));
        displaced.map_or(Push::Queued, |(of, displaced)| Push::Displaced(of, displaced))
    }

    /// The oldest job of the client whose turn it is, with its place.
    pub(super) fn next(&self) -> Option<(usize, ClientGroup, &T)> {
        // Of equals, `min_by_key` takes the first.
        let (next, (client, job)) =
            (self.entries.iter().enumerate()).min_by_key(|(_, (client, _))| self.standings.turn_order(*client))?;
        Some((next, *client, job))
    }

    /// Takes out the job in this place, and its client has had its turn.
    pub(super) fn begin(&mut self, place: usize) -> Option<(ClientGroup, T)> {
        let (client, job) = self.entries.remove(place)?;
        self.standings.begin_turn(client);
        Some((client, job))
    }

    /// Takes out the job in this place.
    pub(super) fn remove(&mut self, place: usize) -> Option<(ClientGroup, T)> {
        self.entries.remove(place)
    }

    /// The key of the client's last turn was right or wrong.
    pub(super) fn record_verdict(&mut self, client: ClientGroup, was_right: bool) {
        self.standings.record_verdict(client, was_right);
    }

    /// Takes out every job for which the predicate holds.
    pub(super) fn take_if(&mut self, mut is_taken: impl FnMut(&T) -> bool) -> Vec<(ClientGroup, T)> {
        let mut taken = Vec::new();
        let mut index = 0;
        while let Some((_, job)) = self.entries.get(index) {
            if is_taken(job) {
                taken.extend(self.entries.remove(index));
            } else {
                index += 1;
            }
        }
        taken
    }

    /// The place of the job that one of the newcomer's displaces, if any.
    fn victim(&self, newcomer: ClientGroup) -> Option<usize> {
        let mut counts: HashMap<ClientGroup, usize> = HashMap::new();
        for (client, _) in &self.entries {
            *counts.entry(*client).or_default() += 1;
        }
        let load = |client: ClientGroup, more: usize| -> LoadOrder {
            let jobs = counts.get(&client).copied().unwrap_or(0);
            self.standings.load_order(client, jobs + more)
        };
        // Of equals, `max_by_key` takes the last, which is the newest.
        let (victim, (client, _)) =
            (self.entries.iter().enumerate()).max_by_key(|(_, (client, _))| load(*client, 0))?;
        (load(newcomer, 1) < load(*client, 0)).then_some(victim)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn client(number: u8) -> ClientGroup {
        ClientGroup::of(Some(IpAddr::from([192, 0, 2, number])))
    }

    fn filled(groups: &[u8]) -> FairQueue<usize> {
        let mut queue = FairQueue::new(groups.len());
        for (job, group) in groups.iter().enumerate() {
            assert!(matches!(queue.push(client(*group), job), Push::Queued));
        }
        queue
    }

    fn jobs(queue: &FairQueue<usize>) -> Vec<usize> {
        queue.entries.iter().map(|(_, job)| *job).collect()
    }

    fn push(queue: &mut FairQueue<usize>, group: u8, job: usize) {
        assert!(matches!(queue.push(client(group), job), Push::Queued));
    }

    fn pop_of(queue: &mut FairQueue<usize>) -> Option<(ClientGroup, usize)> {
        let (next, ..) = queue.next()?;
        queue.begin(next)
    }

    fn pop(queue: &mut FairQueue<usize>) -> Option<usize> {
        pop_of(queue).map(|(_, job)| job)
    }

    #[test]
    fn newest_job_of_largest_client_is_displaced() {
        let mut queue = filled(&[1, 2, 1, 1, 2]);
        assert!(matches!(queue.push(client(3), 99), Push::Displaced(_, 3)));
        assert_eq!(jobs(&queue), [0, 1, 2, 4, 99]);
    }

    #[test]
    fn this_process_is_served_during_flood_of_new_clients() {
        let mut queue = FairQueue::new(4);
        assert!(matches!(queue.push(ClientGroup::THIS_PROCESS, 0), Push::Queued));
        assert_eq!(pop(&mut queue), Some(0), "its first turn");
        for number in 1..=4 {
            push(&mut queue, number, usize::from(number));
        }
        assert!(matches!(
            queue.push(ClientGroup::THIS_PROCESS, 99),
            Push::Displaced(_, 4)
        ));
        let mut waited = 0;
        for number in 5.. {
            waited += 1;
            let (group, job) = pop_of(&mut queue).unwrap();
            if job == 99 {
                break;
            }
            queue.record_verdict(group, false);
            push(&mut queue, number, usize::from(number));
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
                if !queue
                    .entries
                    .iter()
                    .any(|(group, _)| *group == ClientGroup::THIS_PROCESS)
                {
                    assert!(matches!(queue.push(ClientGroup::THIS_PROCESS, 99), Push::Queued));
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

    #[test]
    fn largest_client_is_refused_itself() {
        let mut queue = filled(&[1, 2, 1, 1, 2]);
        assert!(matches!(queue.push(client(1), 99), Push::Refused(99)));
        assert_eq!(jobs(&queue), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn equal_clients_do_not_displace_each_other() {
        let mut queue = filled(&[1, 1, 2, 2]);
        assert!(matches!(queue.push(client(2), 99), Push::Refused(99)));
        let mut queue = filled(&[1, 1, 1, 2, 2]);
        assert!(matches!(queue.push(client(2), 99), Push::Refused(99)));
        let mut queue = filled(&[1, 2]);
        assert!(matches!(queue.push(client(3), 99), Push::Refused(99)));
    }

    /// Lets this client take a turn in an empty queue.
    fn take_turn(queue: &mut FairQueue<usize>, group: u8, was_right: bool) {
        push(queue, group, 0);
        assert_eq!(pop(queue), Some(0));
        queue.record_verdict(client(group), was_right);
    }

    #[test]
    fn better_standing_breaks_a_tie() {
        let mut queue = FairQueue::new(2);
        take_turn(&mut queue, 1, false);
        take_turn(&mut queue, 5, true);
        push(&mut queue, 1, 1);
        push(&mut queue, 2, 2);
        assert!(matches!(queue.push(client(3), 3), Push::Displaced(_, 1)));
        assert!(matches!(queue.push(client(1), 4), Push::Refused(4)));
        assert!(matches!(queue.push(client(4), 5), Push::Refused(5)));
        assert!(matches!(queue.push(client(5), 6), Push::Displaced(_, 3)));
        assert!(matches!(queue.push(client(5), 7), Push::Refused(7)));
        assert_eq!(jobs(&queue), [2, 6]);
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

    proptest! {
        #[test]
        fn no_client_gets_less_than_its_fair_share(arrivals in prop::collection::vec(0u8..4, 1..200)) {
            const CAPACITY: usize = 8;
            let mut queue = FairQueue::new(CAPACITY);
            let mut asked = [0usize; 4];
            for (job, group) in arrivals.iter().enumerate() {
                let before = queue.len();
                let pushed = queue.push(client(*group), (*group, job));
                asked[usize::from(*group)] += 1;
                prop_assert!(queue.len() <= CAPACITY);
                prop_assert!(queue.len() >= before);
                prop_assert_eq!(matches!(pushed, Push::Queued), queue.len() > before);
                for group in 0u8..4 {
                    let has = queue.entries.iter().filter(|(_, (of, _))| *of == group).count();
                    prop_assert!(has >= asked[usize::from(group)].min(CAPACITY / 4));
                }
            }
        }
    }
}
