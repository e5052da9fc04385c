//! Files of /proc, parsed (proc(5)).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// What `/proc/sys/fs/inotify` allows each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inotify {
    /// `max_user_instances`.
    pub(crate) instances: u64,
    /// `max_user_watches`.
    pub(crate) watches: u64,
}

/// Of `/proc/meminfo`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// `MemTotal`.
    pub(crate) total: u64,
    /// `MemAvailable`.
    pub(crate) available: u64,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The interface: `eth0`, `tun0`, `br-3d38dbe1202e`.
    pub(crate) interface: String,
    /// Where it leads to.
    pub(crate) net: Ipv4Net,
}

/// Reads a file that holds one number.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Reads `/proc/meminfo`; its numbers are in KiB, whatever it calls them.
pub(crate) fn memory(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        number.checked_mul(1024)
    };
    Some(Memory {
        total: field("MemTotal")?,
        available: field("MemAvailable")?,
    })
}

/// Reads `/proc/sys/fs/file-nr`: how many files may still be opened on this machine. Its fields are the open ones, an unused
/// zero, and the most that may be.
pub(crate) fn files_left(text: &str) -> Option<u64> {
    let mut fields = text.split_whitespace().map(str::parse::<u64>);
    let (open, _, most) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
    Some(most.saturating_sub(open))
}

/// Reads `/proc/net/route`: addresses are little-endian hexadecimal. The default route is no subnet, nor are the two halves of
/// all addresses by which VPNs take its place (`OpenVPN`'s `redirect-gateway def1`).
pub(crate) fn routes(text: &str) -> Vec<Route> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let address = |index: usize| {
                let raw = u32::from_str_radix(fields.get(index)?, 16).ok()?;
                Some(Ipv4Addr::from(raw.swap_bytes()))
            };
            let net = Ipv4Net::with_netmask(address(1)?, address(7)?).ok()?;
            (net.prefix_len() > 1).then(|| Route {
                interface: fields[0].to_owned(),
                net,
            })
        })
        .collect()
}

/// Whether a module is in a list of them: `/proc/modules`, or `modules.builtin` and `modules.dep` below `/lib/modules`.
pub(crate) fn has_module(list: &str, module: &str) -> bool {
    list.lines().any(|line| {
        let name = line.split([' ', ':']).next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        name.split('.').next() == Some(module)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_are_read_as_the_kernel_writes_them() {
        let text = "MemTotal:       24684100 kB\nMemFree:         3357600 kB\nMemAvailable:   22576364 kB\n";
        let memory = memory(text).unwrap();
        assert_eq!((memory.total, memory.available), (24_684_100 * 1024, 22_576_364 * 1024));
        assert_eq!(files_left("1213\t0\t1000000\n"), Some(998_787));
        assert_eq!(
            files_left("1213\t0\t9223372036854775807\n"),
            Some(9_223_372_036_854_774_594)
        );
        assert_eq!(number("512\n"), Some(512));
        for module in ["ip_vs", "nf_tables"] {
            assert!(has_module("ip_vs 184320 0 - Live 0x0\nnf_tables 1 0\n", module));
            let built_in = "kernel/net/netfilter/ipvs/ip_vs.ko\nkernel/net/netfilter/nf_tables.ko.zst: kernel/a.ko\n";
            assert!(has_module(built_in, module));
            assert!(!has_module("ip_vs_rr 1 0\nnf_tables_set 1\n", module));
        }
    }

    #[test]
    fn default_routes_and_their_halves_are_no_subnets() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    tun0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n\
                    tun0\t00000080\t0101A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n\
                    br0\t00001CAC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                    broken\n";
        let expected = Route {
            interface: "br0".to_owned(),
            net: "172.28.0.0/24".parse().unwrap(),
        };
        assert_eq!(routes(text), [expected]);
    }

    proptest! {
        #[test]
        fn a_route_that_was_written_is_read(address: u32, prefix in 2u8..=32, name in "[a-z]{1,8}[0-9]") {
            let net = Ipv4Net::new(address.into(), prefix).unwrap().trunc();
            let raw = |address: Ipv4Addr| format!("{:08X}", u32::from(address).swap_bytes());
            let text = format!(
                "Iface\tDestination\n{name}\t{}\t0\t1\t0\t0\t0\t{}\t0\t0\t0\n", raw(net.network()), raw(net.netmask())
            );
            prop_assert_eq!(routes(&text), [Route { interface: name, net }]);
        }

        #[test]
        fn numbers_that_were_written_are_read(total in 0u64..1 << 50, available in 0u64..1 << 50, open: u32, most: u32) {
            let text = format!("MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n");
            let read = memory(&text);
            prop_assert_eq!(read, Some(Memory { total: total * 1024, available: available * 1024 }));
            let left = files_left(&format!("{open}\t0\t{most}\n"));
            prop_assert_eq!(left, Some(u64::from(most.saturating_sub(open))));
        }

        #[test]
        fn nothing_makes_them_panic(text in "\\PC*|([A-Za-z0-9:./\t -]{0,40}\n){0,6}") {
            let _ = (number(&text), memory(&text), files_left(&text), routes(&text), has_module(&text, "ip_vs"));
        }
    }
}
