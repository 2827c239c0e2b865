//! Clients with many addresses.

use super::*;

#[test]
fn network_with_many_addresses_is_one_of_many() {
    for addresses in [
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
        [
            "2001:db8:1:1::1",
            "2001:db8:1:2::1",
            "2001:db8:1:3::1",
            "2001:db8:1:4::1",
        ],
        [
            "2001:db8:1:100::1",
            "2001:db8:1:200::1",
            "2001:db8:1:300::1",
            "2001:db8:1:400::1",
        ],
    ] {
        let mut queue = FairQueue::new(5);
        for (job, address) in addresses.into_iter().enumerate() {
            assert!(matches!(queue.push(network(address), None, job), Push::Queued));
        }
        for job in [10, 11] {
            let pushed = queue.push(network("198.51.100.1"), None, job);
            assert!(matches!(
                (job, pushed),
                (10, Push::Queued) | (11, Push::Displaced(_, 0..4))
            ));
        }
        // The networks take turns, whatever addresses they have.
        let first: Vec<bool> = std::iter::from_fn(|| pop(&mut queue))
            .map(|job| job < 4)
            .take(4)
            .collect();
        assert_eq!(first, [true, false, true, false]);
    }
}

/// An attacker with a new address for every key, and a queue full of them.
#[test]
fn newcomer_is_next_though_its_rivals_have_new_addresses() {
    let mut queue = FairQueue::new(16);
    let attack = |queue: &mut FairQueue<usize>, address: u64| {
        let bits = 0x2001_0db8_0001_u128 << 80 | u128::from(address) << 64;
        let from = ClientGroup::of(Some(std::net::Ipv6Addr::from_bits(bits).into()));
        let _pushed = queue.push(from, None, 0);
    };
    for address in 1..1006 {
        attack(&mut queue, address);
        if address.is_multiple_of(10) {
            let (from, _) = pop_of(&mut queue).unwrap();
            queue.record_verdict(from, false);
        }
    }
    assert!(matches!(
        queue.push(network("198.51.100.1"), None, 99),
        Push::Displaced(_, 0)
    ));
    for address in 2000..2100 {
        attack(&mut queue, address);
    }
    assert_eq!(pop(&mut queue), Some(99));
}

/// Each attacking network has new addresses, and its first key was wrong.
#[test]
fn newcomer_waits_for_networks_without_a_verdict_only() {
    let mut queue = FairQueue::new(256);
    let from = |network: u8, host: u8| ClientGroup::of(Some([10, 0, network, host].into()));
    for network in 0..100 {
        assert!(matches!(queue.push(from(network, 1), None, 0), Push::Queued));
    }
    for _ in 0..60 {
        let (client, _) = pop_of(&mut queue).unwrap();
        queue.record_verdict(client, false);
    }
    for network in 0..100 {
        assert!(matches!(queue.push(from(network, 2), None, 0), Push::Queued));
    }
    let newcomer = network("198.51.100.1");
    for waits in [40, 0] {
        assert!(matches!(queue.push(newcomer, None, 99), Push::Queued));
        let mut waited = 0;
        while let Some((client, job)) = pop_of(&mut queue) {
            queue.record_verdict(client, job == 99);
            if job == 99 {
                break;
            }
            waited += 1;
        }
        assert_eq!(waited, waits);
    }
}
