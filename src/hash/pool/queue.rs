//! The queue: bounded, and fair between clients.

use std::collections::{HashMap, VecDeque};

use crate::client::ClientGroup;

/// A bounded queue that no client can have for itself.
///
/// When it is full, the client with the most jobs in it loses its newest one to a newcomer, as long as the newcomer has
/// fewer even with its new job; otherwise the newcomer is refused. So a client that floods can keep others out only of
/// the places that are its fair share. A tie goes to a proven client, then to one whose last wrong key is longer ago, and
/// otherwise to those who are already in: swapping equals would help nobody and let two clients throw each other out for
/// ever.
///
/// Clients take turns: next is the client whose last wrong key is longest ago, of equals the one whose last turn is. In
/// the order in which they came, a newcomer would wait behind all that a flood has put in before it, and on a busy machine
/// beyond its deadline. Every other turn is a proven client's, if there is one: a flood from more addresses than there are
/// places is of clients that nothing is known of, and each of them has a first turn.
pub(super) struct FairQueue<T> {
    /// In the order in which they came.
    entries: VecDeque<(ClientGroup, T)>,
    capacity: usize,
    /// How many turns there were.
    turn: u64,
    /// Clients who had a turn lately. They need not have jobs in the queue: one whose jobs come and go would be new each
    /// time.
    standings: HashMap<ClientGroup, Standing>,
}

/// What is remembered of a client; turns count from 1.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// The last key that told, told that it was right.
    is_proven: bool,
    /// The turn of its last wrong key.
    wrong: u64,
    last: u64,
}

/// After so many turns of others a client is as good as new.
const REMEMBERED: u64 = 8192;

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
            turn: 0,
            standings: HashMap::new(),
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

    /// The next job, and whose it is.
    pub(super) fn pop(&mut self) -> Option<(ClientGroup, T)> {
        let turn = self.turn + 1;
        let line = |group: &ClientGroup| {
            let standing = self.standing(group);
            let waits = turn.is_multiple_of(2) && !standing.is_proven;
            (waits, standing.wrong, standing.last)
        };
        // Of several, the oldest.
        let (next, _) = (self.entries.iter().enumerate()).min_by_key(|(_, (group, _))| line(group))?;
        let (group, job) = self.entries.remove(next)?;
        self.turn = turn;
        self.standings.entry(group).or_default().last = turn;
        if self.standings.len() as u64 > 2 * REMEMBERED {
            let forgotten = turn.saturating_sub(REMEMBERED);
            self.standings.retain(|_, standing| standing.last > forgotten);
        }
        Some((group, job))
    }

    /// The client's last turn was for a right key, or for a wrong one.
    pub(super) fn settle(&mut self, group: ClientGroup, was_right: bool) {
        // Unless it was so long ago that it is forgotten.
        if let Some(standing) = self.standings.get_mut(&group) {
            standing.is_proven = was_right;
            if !was_right {
                standing.wrong = standing.last;
            }
        }
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

    /// The place of the job that makes way for one of the newcomer's, if one does.
    fn victim(&self, newcomer: ClientGroup) -> Option<usize> {
        let mut counts: HashMap<ClientGroup, usize> = HashMap::new();
        for (group, _) in &self.entries {
            *counts.entry(*group).or_default() += 1;
        }
        let rank = |group: &ClientGroup, jobs: usize| {
            let standing = self.standing(group);
            (jobs, !standing.is_proven, standing.wrong)
        };
        let jobs = |group: &ClientGroup| counts.get(group).copied().unwrap_or(0);
        // Of several, the newest.
        let (victim, (group, _)) =
            (self.entries.iter().enumerate()).max_by_key(|(_, (group, _))| rank(group, jobs(group)))?;
        (rank(&newcomer, jobs(&newcomer) + 1) < rank(group, jobs(group))).then_some(victim)
    }

    fn standing(&self, group: &ClientGroup) -> Standing {
        let standing = self.standings.get(group).copied().unwrap_or_default();
        match *group {
            // No key of its own ever told that it was right, and every address never seen before would come first: a flood
            // from ever new ones would end all issuing and rotating.
            ClientGroup::THIS_PROCESS => Standing {
                is_proven: true,
                ..standing
            },
            _ => standing,
        }
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

    fn pop(queue: &mut FairQueue<usize>) -> Option<usize> {
        queue.pop().map(|(_, job)| job)
    }

    #[test]
    fn the_newest_job_of_the_client_with_most_makes_way() {
        let mut queue = filled(&[1, 2, 1, 1, 2]);
        assert!(matches!(queue.push(client(3), 99), Push::Displaced(3)));
        assert_eq!(jobs(&queue), [0, 1, 2, 4, 99]);
    }

    #[test]
    fn the_service_itself_is_served_though_clients_never_seen_before_keep_coming() {
        let mut queue = FairQueue::new(4);
        assert!(matches!(queue.push(ClientGroup::THIS_PROCESS, 0), Push::Queued));
        assert_eq!(pop(&mut queue), Some(0), "its first turn");
        for number in 1..=4 {
            push(&mut queue, number, usize::from(number));
        }
        assert!(matches!(queue.push(ClientGroup::THIS_PROCESS, 99), Push::Displaced(4)));
        let mut waited = 0;
        for number in 5.. {
            waited += 1;
            let (group, job) = queue.pop().unwrap();
            if job == 99 {
                break;
            }
            queue.settle(group, false);
            push(&mut queue, number, usize::from(number));
        }
        assert!(waited <= 2, "{waited}");
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

    /// Lets this client take a turn in an empty queue.
    fn take_turn(queue: &mut FairQueue<usize>, group: u8, was_right: bool) {
        push(queue, group, 0);
        assert_eq!(pop(queue), Some(0));
        queue.settle(client(group), was_right);
    }

    #[test]
    fn of_equals_the_better_standing_gets_the_place() {
        let mut queue = FairQueue::new(2);
        take_turn(&mut queue, 1, false);
        take_turn(&mut queue, 5, true);
        push(&mut queue, 1, 1);
        push(&mut queue, 2, 2);
        assert!(matches!(queue.push(client(3), 3), Push::Displaced(1)));
        assert!(matches!(queue.push(client(1), 4), Push::Refused(4)));
        assert!(matches!(queue.push(client(4), 5), Push::Refused(5)));
        assert!(matches!(queue.push(client(5), 6), Push::Displaced(3)));
        assert!(matches!(queue.push(client(5), 7), Push::Refused(7)));
        assert_eq!(jobs(&queue), [2, 6]);
    }

    #[test]
    fn every_other_turn_is_a_proven_clients() {
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
    fn jobs_are_taken_out_from_anywhere() {
        let mut queue = filled(&[1, 2, 1, 1, 2]);
        assert_eq!(queue.take_if(|job| job % 2 == 0), [0, 2, 4]);
        assert_eq!(jobs(&queue), [1, 3]);
    }

    #[test]
    fn clients_take_turns_whoever_came_first() {
        let mut queue = filled(&[1, 1, 1, 1, 2, 2, 3]);
        let order: Vec<usize> = std::iter::from_fn(|| pop(&mut queue)).collect();
        assert_eq!(order, [0, 4, 6, 1, 5, 2, 3]);
    }

    #[test]
    fn a_turn_counts_after_the_client_has_left_the_queue() {
        let mut queue = FairQueue::new(4);
        push(&mut queue, 1, 0);
        assert_eq!(pop(&mut queue), Some(0));
        push(&mut queue, 1, 1);
        push(&mut queue, 2, 2);
        assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(2), Some(1)));
    }

    #[test]
    fn those_with_wrong_keys_come_after_all_others_and_take_turns_too() {
        let mut queue = filled(&[1, 2, 1, 2, 3, 3, 3]);
        let mut order = Vec::new();
        while let Some((group, job)) = queue.pop() {
            order.push(job);
            if group != client(3) {
                queue.settle(group, false);
            }
        }
        assert_eq!(order, [0, 1, 4, 5, 6, 2, 3]);
    }

    #[test]
    fn only_so_many_clients_are_remembered() {
        let mut queue = FairQueue::new(1);
        for number in 0..5 * REMEMBERED as u32 {
            let group = ClientGroup::of(Some(IpAddr::from(number.to_be_bytes())));
            assert!(matches!(queue.push(group, 0), Push::Queued));
            assert!(queue.pop().is_some_and(|(of, _)| of == group));
            queue.settle(group, false);
            assert!(queue.standings.len() as u64 <= 2 * REMEMBERED);
            assert!(queue.standings.contains_key(&group));
        }
        let forgotten = ClientGroup::of(Some(IpAddr::from([0, 0, 0, 0])));
        queue.settle(forgotten, false);
        assert!(!queue.standings.contains_key(&forgotten));
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
