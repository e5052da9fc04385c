//! What this host is and has: read here, decided elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroU16;

use ipnet::Ipv4Net;
use loko_engine::HostFacts;

/// Kernel, name and operating system.
pub(crate) fn facts() -> HostFacts {
    let uname = rustix::system::uname();
    HostFacts {
        os: std::env::consts::OS.to_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        hostname: uname.nodename().to_string_lossy().into_owned(),
    }
}

/// The address from which this host reaches others. No packet is sent: connecting a datagram socket only looks up a route.
pub(crate) fn lan_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // TEST-NET-1 (RFC 5737): an address of nobody, behind the default route.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

/// Whether an address is this host's: only then can a socket be bound to it.
pub(crate) fn has_address(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

/// A port of 127.0.0.1 that nothing listens on now.
pub(crate) fn free_port() -> Option<NonZeroU16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    NonZeroU16::new(listener.local_addr().ok()?.port())
}

/// Subnets that this host has routes to, so that ours meets none of them. Empty where they cannot be read.
pub(crate) fn routes() -> Vec<Ipv4Net> {
    let text = fs_err::read_to_string("/proc/net/route").unwrap_or_default();
    crate::doctor::proc::routes(&text)
        .into_iter()
        .map(|route| route.net)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_this_hosts() {
        assert!(has_address(Ipv4Addr::LOCALHOST.into()));
        assert!(!has_address(Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
