//! Ports of the cluster's nodes: which are whose, and how a workload's port gets one.
//!
//! Traefik has a pool of entry points from birth, because an entry point more is a restart of Traefik. Each has a fixed
//! NodePort in the band that Kubernetes gives out only on request (30000–30085 of the default range 30000–32767,
//! KEP-3070). A workload's port takes the lowest slot that is free, keeps it while it lives, and frees it after.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{Environment, Protocol};
use crate::names::WorkloadName;

/// How many TCP entry points there are.
pub const TCP_SLOTS: u16 = 64;
/// How many UDP entry points there are.
pub const UDP_SLOTS: u16 = 16;
/// NodePort of the first TCP slot; the others follow.
pub const FIRST_TCP_NODE_PORT: u16 = 30001;
/// NodePort of the first UDP slot; the others follow.
pub const FIRST_UDP_NODE_PORT: u16 = FIRST_TCP_NODE_PORT + TCP_SLOTS;
/// NodePort of the entry point `web`, plain HTTP.
pub const WEB_NODE_PORT: u16 = FIRST_UDP_NODE_PORT + UDP_SLOTS;
/// NodePort of the entry point `websecure`, HTTPS.
pub const WEBSECURE_NODE_PORT: u16 = WEB_NODE_PORT + 1;
/// NodePort of Traefik's ping, which tells whether a node takes traffic.
pub const PING_NODE_PORT: u16 = WEBSECURE_NODE_PORT + 1;
const _: () = assert!(FIRST_UDP_NODE_PORT == 30065 && WEB_NODE_PORT == 30081 && PING_NODE_PORT <= 30085);

/// One entry point of the pool. Its text is the entry point's name: `tcp-1` to `tcp-64`, `udp-1` to `udp-16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slot {
    protocol: Protocol,
    /// From 1.
    number: u16,
}

/// The port that a slot is for. The workload's own port and not the host's, so that a changed override keeps the slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// Whose port it is.
    pub workload: WorkloadName,
    /// In the container.
    pub port: NonZeroU16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// More ports are wanted than there are slots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{wanted} {protocol} ports are wanted; an environment has at most {slots}")]
#[diagnostic(
    code(loko::config::slots),
    help("disable workloads, drop ports that only pods use from `ports`, or move workloads to a second environment")
)]
pub struct TooManyPorts {
    /// Of which protocol.
    pub protocol: Protocol,
    /// How many there would be.
    pub wanted: usize,
    /// How many there can be.
    pub slots: u16,
}

/// A text that names no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no slot: tcp-1 to tcp-{TCP_SLOTS} and udp-1 to udp-{UDP_SLOTS} are")]
pub struct InvalidSlot {
    /// The text.
    pub text: String,
}

/// Gives each wanted port a slot: the one it had, else the lowest free one, in the order of the keys.
/// A slot of `had` whose port is not wanted any more is free at once.
pub fn assign(
    had: &BTreeMap<PortKey, Slot>,
    wanted: &BTreeSet<PortKey>,
) -> Result<BTreeMap<PortKey, Slot>, TooManyPorts> {
    let mut given = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for key in wanted {
        // What was stored may be damaged: a slot of the other protocol, or one slot for two ports, is not kept.
        if let Some(&slot) = had.get(key).filter(|slot| slot.protocol == key.protocol)
            && taken.insert(slot)
        {
            given.insert(key.clone(), slot);
        }
    }
    for key in wanted {
        if given.contains_key(key) {
            continue;
        }
        let Some(slot) = Slot::all(key.protocol).find(|slot| !taken.contains(slot)) else {
            return Err(TooManyPorts {
                protocol: key.protocol,
                wanted: wanted.iter().filter(|other| other.protocol == key.protocol).count(),
                slots: Slot::count(key.protocol),
            });
        };
        taken.insert(slot);
        given.insert(key.clone(), slot);
    }
    Ok(given)
}

/// The ports of an environment that need a slot: those of its enabled workloads.
#[must_use]
pub fn wanted(environment: &Environment) -> BTreeSet<PortKey> {
    let keys = environment.enabled_workloads().flat_map(|workload| {
        workload.ports.iter().map(|port| PortKey {
            workload: workload.name.clone(),
            port: port.port,
            protocol: port.protocol,
        })
    });
    keys.collect()
}

impl Slot {
    /// The slot of that number, from 1; `None` where there are not so many.
    #[must_use]
    pub fn new(protocol: Protocol, number: u16) -> Option<Self> {
        (1..=Self::count(protocol))
            .contains(&number)
            .then_some(Self { protocol, number })
    }

    /// How many slots a protocol has.
    #[must_use]
    pub fn count(protocol: Protocol) -> u16 {
        match protocol {
            Protocol::Tcp => TCP_SLOTS,
            Protocol::Udp => UDP_SLOTS,
        }
    }

    /// All slots of a protocol, lowest first.
    pub fn all(protocol: Protocol) -> impl Iterator<Item = Self> {
        (1..=Self::count(protocol)).map(move |number| Self { protocol, number })
    }

    /// TCP or UDP.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        self.protocol
    }

    /// From 1.
    #[must_use]
    pub fn number(self) -> u16 {
        self.number
    }

    /// The port of every node that runs Traefik, and Traefik's own port for the entry point.
    #[must_use]
    pub fn node_port(self) -> NonZeroU16 {
        let first = match self.protocol {
            Protocol::Tcp => FIRST_TCP_NODE_PORT,
            Protocol::Udp => FIRST_UDP_NODE_PORT,
        };
        NonZeroU16::MIN.saturating_add(first + self.number - 2)
    }

    /// The slot behind a NodePort; none for every other port.
    #[must_use]
    pub fn of_node_port(port: NonZeroU16) -> Option<Self> {
        [Protocol::Tcp, Protocol::Udp]
            .into_iter()
            .flat_map(Self::all)
            .find(|slot| slot.node_port() == port)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.protocol, self.number)
    }
}

impl FromStr for Slot {
    type Err = InvalidSlot;
    fn from_str(text: &str) -> Result<Self, InvalidSlot> {
        let invalid = || InvalidSlot { text: text.to_owned() };
        let (protocol, number) = text.split_once('-').ok_or_else(invalid)?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(invalid()),
        };
        // `+1` and `01` are numbers to Rust, but no slots.
        let slot = number
            .parse()
            .ok()
            .and_then(|number| Self::new(protocol, number))
            .ok_or_else(invalid)?;
        if slot.to_string() == text {
            Ok(slot)
        } else {
            Err(invalid())
        }
    }
}

impl TryFrom<String> for Slot {
    type Error = InvalidSlot;
    fn try_from(text: String) -> Result<Self, InvalidSlot> {
        text.parse()
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> Self {
        slot.to_string()
    }
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.workload, self.port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(workload: &str, port: u16, protocol: Protocol) -> PortKey {
        PortKey {
            workload: workload.parse().unwrap(),
            port: NonZeroU16::new(port).unwrap(),
            protocol,
        }
    }

    fn slot(text: &str) -> Slot {
        text.parse().unwrap()
    }

    #[test]
    fn the_bands_are_those_of_the_design() {
        assert_eq!(slot("tcp-1").node_port().get(), 30001);
        assert_eq!(slot("tcp-64").node_port().get(), 30064);
        assert_eq!(slot("udp-1").node_port().get(), 30065);
        assert_eq!(slot("udp-16").node_port().get(), 30080);
        assert_eq!(
            (WEB_NODE_PORT, WEBSECURE_NODE_PORT, PING_NODE_PORT),
            (30081, 30082, 30083)
        );
        for text in ["tcp-0", "tcp-65", "udp-17", "tcp-+1", "tcp-01", "sctp-1", "tcp", ""] {
            assert!(text.parse::<Slot>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_keeps_its_slot_and_a_new_one_takes_the_lowest_that_is_free() {
        let a = key("a", 1, Protocol::Tcp);
        let b = key("b", 1, Protocol::Tcp);
        let c = key("c", 1, Protocol::Tcp);
        let had = BTreeMap::from([(a, slot("tcp-1")), (c.clone(), slot("tcp-3"))]);
        let given = assign(&had, &BTreeSet::from([b.clone(), c.clone()])).unwrap();
        assert_eq!(given, BTreeMap::from([(b, slot("tcp-1")), (c, slot("tcp-3"))]));
    }

    #[test]
    fn one_port_too_many_is_refused_with_both_numbers() {
        let wanted: BTreeSet<PortKey> = (1..=65).map(|port| key("a", port, Protocol::Tcp)).collect();
        let error = assign(&BTreeMap::new(), &wanted).unwrap_err();
        assert_eq!((error.wanted, error.slots), (65, 64));
    }

    fn keys() -> impl Strategy<Value = BTreeSet<PortKey>> {
        let one = ("[a-d]", 1u16..12, prop::bool::ANY)
            .prop_map(|(name, port, udp)| key(&name, port, if udp { Protocol::Udp } else { Protocol::Tcp }));
        prop::collection::btree_set(one, 0..16)
    }

    proptest! {
        #[test]
        fn every_port_has_a_slot_of_its_own_and_keeps_it(first in keys(), second in keys()) {
            let had = assign(&BTreeMap::new(), &first).unwrap();
            let now = assign(&had, &second).unwrap();
            prop_assert!(now.keys().eq(&second));
            prop_assert_eq!(now.values().collect::<BTreeSet<_>>().len(), second.len());
            for (key, slot) in &now {
                prop_assert_eq!(slot.protocol(), key.protocol);
                if let Some(before) = had.get(key) {
                    prop_assert_eq!(before, slot);
                }
            }
            prop_assert_eq!(assign(&now, &second).unwrap(), now);
        }
    }
}
