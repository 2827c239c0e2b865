//! The queue: bounded, and fair between clients.

use std::collections::{HashMap, VecDeque};

use crate::client::ClientGroup;

/// A bounded queue that no client can have for itself.
///
/// When it is full, the client with the most jobs in it loses its newest one to a newcomer, as long as the newcomer has
/// fewer even with its new job; otherwise the newcomer is refused. So a client that floods can keep others out only of
/// the places that are its fair share. The tie goes to those who are already in: swapping equals would help nobody and
/// let two clients throw each other out for ever.
///
/// Clients take turns: next is the client whose last turn is longest ago, with its oldest job. In the order in which they
/// came, a newcomer would wait behind all that a flood has put in before it, and on a busy machine beyond its deadline.
pub(super) struct FairQueue<T> {
    /// In the order in which they came.
    entries: VecDeque<(ClientGroup, T)>,
    capacity: usize,
    /// How many turns there were.
    turns: u64,
    /// Which turn was each client's last, for those who had one lately. They need not have jobs in the queue: a client
    /// whose jobs come and go one by one would be new each time.
    last_turns: HashMap<ClientGroup, u64>,
}

/// After so many turns of others a client is as good as new.
const REMEMBERED: u64 = 1024;

/// What became of a newcomer.
#[must_use]
pub(super) enum Push<T> {
    Queued,
    /// It is in, and this job is out.
    Displaced(T),
    /// It is not in.
    Refused(T),
}

impl<T> FairQueue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            capacity,
            turns: 0,
            last_turns: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    pub(super) fn push(&mut self, group: ClientGroup, job: T) -> Push<T> {
        if !self.is_full() {
            self.entries.push_back((group, job));
            return Push::Queued;
        }
        let Some(victim) = self.victim(group) else {
            return Push::Refused(job);
        };
        let displaced = self.entries.remove(victim);
        self.entries.push_back((group, job));
        displaced.map_or(Push::Queued, |(_, displaced)| Push::Displaced(displaced))
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let last_turn = |group: &ClientGroup| self.last_turns.get(group).copied().unwrap_or(0);
        let (next, _) = (self.entries.iter().enumerate()).min_by_key(|(_, (group, _))| last_turn(group))?;
        let (group, job) = self.entries.remove(next)?;
        self.turns += 1;
        self.last_turns.insert(group, self.turns);
        if self.last_turns.len() as u64 > 2 * REMEMBERED {
            let oldest = self.turns - REMEMBERED;
            self.last_turns.retain(|_, turn| *turn > oldest);
        }
        Some(job)
    }

    /// Takes out every job that the predicate names, wherever it stands.
    pub(super) fn take_if(&mut self, mut named: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        let mut index = 0;
        while let Some((_, job)) = self.entries.get(index) {
            if named(job) {
                taken.extend(self.entries.remove(index).map(|(_, job)| job));
            } else {
                index += 1;
            }
        }
        taken
    }

    /// The place of the newest job among those of the clients with the most, if that is more than the newcomer would
    /// have.
    fn victim(&self, newcomer: ClientGroup) -> Option<usize> {
        let mut counts: HashMap<ClientGroup, usize> = HashMap::new();
        for (group, _) in &self.entries {
            *counts.entry(*group).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        let own = counts.get(&newcomer).copied().unwrap_or(0) + 1;
        if own >= most {
            return None;
        }
        self.entries
            .iter()
            .rposition(|(group, _)| counts.get(group).copied() == Some(most))
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

    #[test]
    fn the_newest_job_of_the_client_with_most_makes_way() {
        let mut queue = filled(&[1, 2, 1, 1, 2]);
        assert!(matches!(queue.push(client(3), 99), Push::Displaced(3)));
        assert_eq!(jobs(&queue), [0, 1, 2, 4, 99]);
    }

    #[test]
    fn the_client_with_most_is_refused_itself() {
        let mut queue = filled(&[1, 2, 1, 1, 2]);
        assert!(matches!(queue.push(client(1), 99), Push::Refused(99)));
        assert_eq!(jobs(&queue), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn equals_do_not_throw_each_other_out() {
        let mut queue = filled(&[1, 1, 2, 2]);
        assert!(matches!(queue.push(client(2), 99), Push::Refused(99)));
        let mut queue = filled(&[1, 1, 1, 2, 2]);
        assert!(matches!(queue.push(client(2), 99), Push::Refused(99)));
        let mut queue = filled(&[1, 2]);
        assert!(matches!(queue.push(client(3), 99), Push::Refused(99)));
    }

    #[test]
    fn jobs_are_taken_out_from_anywhere() {
        let mut queue = filled(&[1, 2, 1, 1, 2]);
        assert_eq!(queue.take_if(|job| job % 2 == 0), [0, 2, 4]);
        assert_eq!(jobs(&queue), [1, 3]);
    }

    #[test]
    fn clients_take_turns_whoever_came_first() {
        let mut queue = filled(&[1, 1, 1, 1, 2, 2, 3]);
        let order: Vec<usize> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [0, 4, 6, 1, 5, 2, 3]);
    }

    #[test]
    fn a_turn_counts_after_the_client_has_left_the_queue() {
        let mut queue = FairQueue::new(4);
        let push = |queue: &mut FairQueue<usize>, group, job| {
            assert!(matches!(queue.push(client(group), job), Push::Queued));
        };
        push(&mut queue, 1, 0);
        assert_eq!(queue.pop(), Some(0));
        push(&mut queue, 1, 1);
        push(&mut queue, 2, 2);
        assert_eq!((queue.pop(), queue.pop()), (Some(2), Some(1)));
    }

    #[test]
    fn only_so_many_clients_are_remembered() {
        let mut queue = FairQueue::new(1);
        for number in 0..10_000u32 {
            let group = ClientGroup::of(Some(IpAddr::from(number.to_be_bytes())));
            assert!(matches!(queue.push(group, number), Push::Queued));
            assert_eq!(queue.pop(), Some(number));
            assert!(queue.last_turns.len() as u64 <= 2 * REMEMBERED);
            assert!(queue.last_turns.contains_key(&group));
        }
    }

    proptest! {
        #[test]
        fn no_client_falls_below_its_fair_share(arrivals in prop::collection::vec(0u8..4, 1..200)) {
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
