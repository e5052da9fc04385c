//! What HAProxy's container says of itself: how many files and ports it may use, what its build can do, how many workers it has.

use crate::configuration::Limits;

/// A shell command whose output [`read`] understands.
pub const COMMAND: &str =
    "cat /proc/1/limits; echo \"Local ports $(cat /proc/sys/net/ipv4/ip_local_port_range)\"; haproxy -vv";

/// A shell command that prints a line for each process of HAProxy, the master and its workers, with the time of its start, and a
/// last one with the time now: hundredths of a second and seconds since the machine's start (proc(5), `/proc/<pid>/stat`).
pub const WORKERS_COMMAND: &str = "for p in /proc/[0-9]*; do if read -r c < $p/comm && [ \"$c\" = haproxy ] && read -r s < $p/stat; then set -- $s; echo $p ${22}; fi; done 2>/dev/null; read -r u < /proc/uptime; echo uptime $u";

/// What was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How much it may use.
    pub limits: Limits,
    /// Whether the build has the Prometheus exporter.
    pub prometheus: bool,
}

/// Reads the output of [`COMMAND`]. Where a limit cannot be found, one is taken that every system gives.
#[must_use]
pub fn read(output: &str, cpus: u32) -> Facts {
    const SMALL: u64 = 1024;
    let files = output.lines().find_map(|line| {
        // `Max open files  <soft>  <hard>  files`: HAProxy raises the soft one itself (proc(5)).
        let numbers = line.strip_prefix("Max open files")?;
        match numbers.split_whitespace().nth(1)? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    });
    let ports = output.lines().find_map(|line| {
        let mut range = line.strip_prefix("Local ports ")?.split_whitespace();
        let (first, last): (u32, u32) = (range.next()?.parse().ok()?, range.next()?.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    });
    let services = output
        .lines()
        .filter_map(|line| line.strip_prefix("Available services"));
    Facts {
        limits: Limits::new(files.unwrap_or(SMALL), cpus).with_local_ports(ports.unwrap_or(Limits::LOCAL_PORTS)),
        prometheus: services.into_iter().any(|list| list.contains("prometheus-exporter")),
    }
}

/// HAProxy's workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Workers {
    /// How many of before still live.
    pub old: usize,
    /// For how long the one that serves has counted, in seconds; `None` where there is none, or it cannot be found out.
    pub counted: Option<u64>,
}

/// Reads the output of [`WORKERS_COMMAND`]. The master is the first process of its container; of its workers the youngest serves.
#[must_use]
pub fn workers(output: &str) -> Workers {
    let mut now = None;
    let mut starts = Vec::new();
    for line in output.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("uptime") => {
                let seconds = words.next().and_then(|uptime| uptime.split('.').next());
                now = seconds.and_then(|seconds| seconds.parse::<u64>().ok());
            }
            Some("/proc/1") | None => {}
            // Linux counts in hundredths for programs on every architecture that HAProxy's images are made for.
            Some(_) => starts.push(
                words
                    .next()
                    .and_then(|start| start.parse::<u64>().ok())
                    .map(|start| start / 100),
            ),
        }
    }
    let youngest = starts.iter().max().copied().flatten();
    Workers {
        old: starts.len().saturating_sub(1),
        counted: now.zip(youngest).and_then(|(now, start)| now.checked_sub(start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_services_are_found() {
        let output = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 20000                files     \n\
            Local ports 1024\t65535\n\
            Available services : prometheus-exporter\n";
        let facts = read(output, 2);
        assert_eq!(
            (facts.limits.files, facts.limits.connections, facts.prometheus),
            (20_000, 9744, true)
        );
        assert_eq!(facts.limits, facts.limits.with_local_ports(64_512));
        assert_ne!(facts.limits.rate, Limits::new(20_000, 2).rate);
        let nothing = read("Available services : none\n", 2);
        assert_eq!((nothing.limits.files, nothing.prometheus), (1024, false));
        assert_eq!(nothing.limits, Limits::new(1024, 2));
        assert_eq!(read("Local ports 9 1\n", 2).limits, Limits::new(1024, 2));
        assert_eq!(
            read("Max open files  unlimited unlimited files", 2).limits.files,
            65_536
        );
    }

    #[test]
    fn the_youngest_worker_serves_and_the_others_are_old() {
        let of = |output| {
            let Workers { old, counted } = workers(output);
            (old, counted)
        };
        assert_eq!(of("/proc/1 100\n/proc/9 2000\nuptime 25.99 40.12\n"), (0, Some(5)));
        assert_eq!(
            of("/proc/1 100\n/proc/9 2000\n/proc/20 2300\nuptime 25.99 40.12\n"),
            (1, Some(2))
        );
        // An uptime that is the container's own.
        assert_eq!(of("/proc/1 100\n/proc/9 2000\nuptime 3.00 4.00\n"), (0, None));
        assert_eq!(of("/proc/1\n/proc/9\n"), (0, None));
        assert_eq!(of(""), (0, None));
    }
}
