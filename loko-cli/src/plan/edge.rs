//! Changes on the host: dnsmasq, the host's resolver, HAProxy and the UDP relay.

use std::net::SocketAddr;

use loko_dns::plan::Change as DnsChange;
use loko_dns::resolver::Action as ResolverAction;
use loko_haproxy::driver::{Done, Report};

use super::{Action, Change, Effect};

/// What becomes of dnsmasq.
pub(crate) fn dns(plan: &loko_dns::plan::Plan) -> Option<Change> {
    let change = |action, reason: &str| Change::live("dns", action, "dnsmasq", reason);
    Some(match plan.change() {
        DnsChange::Nothing => return None,
        DnsChange::Names => change(Action::Update, "other names; it follows them while it runs"),
        DnsChange::Start => change(Action::Start, "it does not run"),
        DnsChange::Create => change(Action::Create, "it is not there"),
        DnsChange::Restart => change(
            Action::Update,
            "domain, address or port differ; it reads them when it starts",
        )
        .at(Effect::RestartsComponent),
        DnsChange::Replace => change(Action::Update, "its container is to be another").at(Effect::RestartsComponent),
    })
}

/// What is told this host's resolver.
pub(crate) fn resolver(actions: &[ResolverAction]) -> Vec<Change> {
    let actions = actions.iter().map(ToString::to_string);
    actions
        .map(|action| Change::live("resolver", Action::Update, "this host's resolver", action))
        .collect()
}

/// What becomes of HAProxy, and of the UDP relay.
pub(crate) fn way_in(haproxy: &Report, relay: Done) -> Vec<Change> {
    let ports = |word: &str, addresses: &std::collections::BTreeSet<SocketAddr>| {
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        (!list.is_empty()).then(|| format!("{word} {}", list.join(", ")))
    };
    let opened = ports("listens on", &haproxy.opened);
    let closed = ports("gives up", &haproxy.closed);
    let mut reason: Vec<String> = opened.into_iter().chain(closed).collect();
    if reason.is_empty() {
        let why = match haproxy.done {
            Done::Recreated => "its image or the ports that the engine publishes for it are to be others",
            Done::Started => "it does not run",
            Done::Nothing | Done::Reloaded | Done::Removed => "other routes",
        };
        reason.push(why.to_owned());
    }
    let haproxy = of("HAProxy", haproxy.done, &reason.join("; "));
    let relay = of("UDP relay", relay, "other UDP ports, which it binds when it starts");
    haproxy.into_iter().chain(relay).collect()
}

fn of(what: &str, done: Done, reason: &str) -> Option<Change> {
    let change = |action| Change::live("edge", action, what, reason);
    Some(match done {
        Done::Nothing => return None,
        Done::Started => change(Action::Start),
        Done::Reloaded => change(Action::Update),
        Done::Removed => change(Action::Remove),
        Done::Recreated => change(Action::Update).at(Effect::RestartsComponent),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::Plan;

    fn report(done: Done, opened: &[&str]) -> Report {
        Report {
            done,
            opened: opened.iter().map(|address| address.parse().unwrap()).collect(),
            closed: BTreeSet::new(),
            environments: BTreeSet::new(),
        }
    }

    #[test]
    fn a_port_more_is_live_for_tcp_and_restarts_the_relay_for_udp() {
        let changes = way_in(&report(Done::Reloaded, &["127.0.0.1:6380"]), Done::Recreated);
        insta::assert_snapshot!(Plan::new("dev", changes, Vec::new()).text(), @"
        ACTION  WHAT       EFFECT       WHY
        update  HAProxy    live         listens on 127.0.0.1:6380
        update  UDP relay  restarts it  other UDP ports, which it binds when it starts
        ");
        assert_eq!(way_in(&report(Done::Nothing, &[]), Done::Nothing), []);
    }

    #[test]
    fn another_image_of_haproxy_ends_its_connections() {
        let changes = way_in(&report(Done::Recreated, &[]), Done::Nothing);
        assert_eq!(changes[0].effect, Effect::RestartsComponent);
        assert!(changes[0].reason.contains("its image"));
    }
}
