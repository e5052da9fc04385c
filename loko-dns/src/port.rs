//! The port of an environment's dnsmasq: found once, then kept.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use loko_config::model::AutoPort;

/// First port that is tried. 53 is often taken by a resolver of the host, 5353 is multicast DNS.
pub const FIRST: u16 = 5453;
/// Last port that is tried.
pub const LAST: u16 = 5552;

/// What the port should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Port(NonZeroU16),
    /// The port that was asked for is taken.
    Taken(NonZeroU16),
    /// None of [`FIRST`] to [`LAST`] is free.
    None,
}

/// Chooses: the one asked for, else the one `kept` from before, else the first from [`FIRST`] on that is not `taken`.
/// `kept` is this environment's own and so never counts as taken.
#[must_use]
pub fn choose(wanted: AutoPort, kept: Option<NonZeroU16>, taken: &BTreeSet<NonZeroU16>) -> Choice {
    match (wanted, kept) {
        (AutoPort::Fixed(port), kept) if kept == Some(port) || !taken.contains(&port) => Choice::Port(port),
        (AutoPort::Fixed(port), _) => Choice::Taken(port),
        (AutoPort::Auto, Some(port)) => Choice::Port(port),
        (AutoPort::Auto, None) => (FIRST..=LAST)
            .filter_map(NonZeroU16::new)
            .find(|port| !taken.contains(port))
            .map_or(Choice::None, Choice::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    #[test]
    fn the_first_free_port_is_taken_and_then_kept() {
        let none = BTreeSet::new();
        assert_eq!(choose(AutoPort::Auto, None, &none), Choice::Port(port(5453)));
        let taken = BTreeSet::from([port(5453), port(5455)]);
        assert_eq!(choose(AutoPort::Auto, None, &taken), Choice::Port(port(5454)));
        assert_eq!(
            choose(AutoPort::Auto, Some(port(5453)), &taken),
            Choice::Port(port(5453))
        );
        let all: BTreeSet<_> = (FIRST..=LAST).map(port).collect();
        assert_eq!(choose(AutoPort::Auto, None, &all), Choice::None);
    }

    #[test]
    fn a_fixed_port_is_that_port_or_nothing() {
        let taken = BTreeSet::from([port(53)]);
        let fixed = AutoPort::Fixed(port(53));
        assert_eq!(choose(fixed, None, &taken), Choice::Taken(port(53)));
        assert_eq!(choose(fixed, Some(port(53)), &taken), Choice::Port(port(53)));
        assert_eq!(
            choose(fixed, Some(port(5453)), &BTreeSet::new()),
            Choice::Port(port(53))
        );
    }
}
