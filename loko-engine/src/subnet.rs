//! Which subnet our network takes, and how its addresses are divided.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A subnet and its halves: the engine gives addresses out of the lower one, we pin nodes in the upper one, so that
/// the address of a node that is stopped is never given to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    /// The whole.
    pub subnet: Ipv4Net,
    /// What the engine gives out by itself.
    pub dynamic: Ipv4Net,
    /// What we pin.
    pub pinned: Ipv4Net,
}

/// Divides a subnet; `None` where it is smaller than a /29.
#[must_use]
pub fn divide(subnet: Ipv4Net) -> Option<Division> {
    if subnet.prefix_len() > 29 {
        return None;
    }
    let mut halves = subnet.subnets(subnet.prefix_len() + 1).ok()?;
    Some(Division {
        subnet,
        dynamic: halves.next()?,
        pinned: halves.next()?,
    })
}

/// The first /24 of 172.28.0.0 to 172.31.255.0, then of 10.89.0.0/16, that meets none of `taken`
/// (networks of the engine, routes of the host, the cluster's own subnets).
#[must_use]
pub fn choose(taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let candidates = [
        Ipv4Net::new(Ipv4Addr::new(172, 28, 0, 0), 14),
        Ipv4Net::new(Ipv4Addr::new(10, 89, 0, 0), 16),
    ];
    candidates
        .into_iter()
        .flatten()
        .filter_map(|wide| wide.subnets(24).ok())
        .flatten()
        .find(|subnet| !taken.iter().any(|other| overlap(*subnet, *other)))
}

/// Whether two subnets share an address.
#[must_use]
pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The first address of `pinned` from `start` on, and round again, that is not in `used`; the last one is the broadcast
/// address and is never given. Two that choose at the same moment should start at different places.
#[must_use]
pub fn free_address(pinned: Ipv4Net, used: &[Ipv4Addr], start: u32) -> Option<Ipv4Addr> {
    let (first, count) = (
        u32::from(pinned.network()),
        u32::from(pinned.broadcast()) - u32::from(pinned.network()),
    );
    (0..count)
        .map(|offset| Ipv4Addr::from(first + (start % count + offset) % count))
        .find(|address| !used.contains(address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_free_subnet_is_taken() {
        assert_eq!(choose(&[]), Some(net("172.28.0.0/24")));
        assert_eq!(choose(&[net("172.28.0.0/16")]), Some(net("172.29.0.0/24")));
        assert_eq!(choose(&[net("172.16.0.0/12")]), Some(net("10.89.0.0/24")));
        assert_eq!(choose(&[net("0.0.0.0/0")]), None);
    }

    #[test]
    fn halves_meet_nowhere_and_pinned_addresses_come_from_the_upper_one() {
        let division = divide(net("172.28.0.0/24")).unwrap();
        assert_eq!(
            (division.dynamic, division.pinned),
            (net("172.28.0.0/25"), net("172.28.0.128/25"))
        );
        let first = free_address(division.pinned, &[], 0).unwrap();
        assert_eq!(first, Ipv4Addr::new(172, 28, 0, 128));
        assert_eq!(
            free_address(division.pinned, &[first], 0),
            Some(Ipv4Addr::new(172, 28, 0, 129))
        );
        assert_eq!(
            free_address(division.pinned, &[], 126),
            Some(Ipv4Addr::new(172, 28, 0, 254))
        );
        let around = free_address(division.pinned, &[Ipv4Addr::new(172, 28, 0, 254)], 126);
        assert_eq!(around, Some(first), "the broadcast address is never given");
        assert_eq!(divide(net("172.28.0.0/30")), None);
    }

    proptest! {
        #[test]
        fn a_chosen_subnet_never_meets_a_taken_one(taken in proptest::collection::vec((any::<u32>(), 8u8..=30), 0..40)) {
            let taken: Vec<Ipv4Net> = taken.into_iter().map(|(a, p)| Ipv4Net::new(a.into(), p).unwrap().trunc()).collect();
            if let Some(chosen) = choose(&taken) {
                prop_assert!(!taken.iter().any(|other| overlap(chosen, *other)));
            }
        }
    }
}
