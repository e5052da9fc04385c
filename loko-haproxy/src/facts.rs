//! What HAProxy's container says of itself: how many files it may open, what its build can do, how many workers it has.

use crate::configuration::Limits;

/// A shell command whose output [`read`] understands.
pub const COMMAND: &str = "cat /proc/1/limits; haproxy -vv";

/// A shell command that prints one line for each process of HAProxy: the master and its workers.
pub const WORKERS_COMMAND: &str = "for p in /proc/[0-9]*; do if read -r c < $p/comm && [ \"$c\" = haproxy ]; then echo $p; fi; done 2>/dev/null; true";

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
    let services = output
        .lines()
        .filter_map(|line| line.strip_prefix("Available services"));
    Facts {
        limits: Limits::new(files.unwrap_or(SMALL), cpus),
        prometheus: services.into_iter().any(|list| list.contains("prometheus-exporter")),
    }
}

/// How many workers of before still live, from the output of [`WORKERS_COMMAND`]: all but the master and the one that serves.
#[must_use]
pub fn old_workers(output: &str) -> usize {
    output.lines().count().saturating_sub(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_services_are_found() {
        let output = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 20000                files     \n\
            Available services : prometheus-exporter\n";
        let facts = read(output, 2);
        assert_eq!(
            (facts.limits.files, facts.limits.connections, facts.prometheus),
            (20_000, 9744, true)
        );
        let nothing = read("Available services : none\n", 2);
        assert_eq!((nothing.limits.files, nothing.prometheus), (1024, false));
        assert_eq!(
            read("Max open files  unlimited unlimited files", 2).limits.files,
            65_536
        );
    }

    #[test]
    fn master_and_worker_are_not_old() {
        assert_eq!(old_workers("/proc/1\n/proc/9\n"), 0);
        assert_eq!(old_workers("/proc/1\n/proc/9\n/proc/20\n"), 1);
        assert_eq!(old_workers(""), 0);
    }
}
