//! The exit codes: part of the interface, listed here and in the README, and tested.

/// What `--help` says of them.
pub(crate) const HELP: &str = "\
Exit codes:
  0         done
  1         something else failed, for example a port in use; `diff` found a difference
  2         the command line or loko.yaml is wrong
  3         the cluster failed or is down
  4         a workload failed
  5         DNS
  6         a certificate
  7         the container engine
  130, 143  Ctrl-C, SIGTERM: what ran was ended in order, and the same command goes on";

/// Something else failed.
pub(crate) const OTHER: u8 = 1;
/// The command line or loko.yaml is wrong.
pub(crate) const USAGE: u8 = 2;
/// The cluster failed or is down.
pub(crate) const CLUSTER: u8 = 3;
/// A workload failed.
pub(crate) const WORKLOAD: u8 = 4;
/// DNS failed.
pub(crate) const DNS: u8 = 5;
/// A certificate failed.
pub(crate) const CERTIFICATE: u8 = 6;
/// The container engine failed or does not answer.
pub(crate) const ENGINE: u8 = 7;
/// Ended by Ctrl-C, as shells count: 128 and the number of SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM, in the same way.
pub(crate) const TERMINATED: u8 = 143;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_readme_list_every_code_in_the_same_words() {
        let readme = include_str!("../../README.md");
        let codes = [
            OTHER,
            USAGE,
            CLUSTER,
            WORKLOAD,
            DNS,
            CERTIFICATE,
            ENGINE,
            INTERRUPTED,
            TERMINATED,
        ];
        let listed: Vec<(&str, &str)> = HELP
            .lines()
            .skip(1)
            .filter_map(|line| line.trim().split_once("  "))
            .collect();
        let all: Vec<&str> = listed.iter().flat_map(|(code, _)| code.split(", ")).skip(1).collect();
        assert_eq!(all, codes.map(|code| code.to_string()));
        for (code, words) in listed {
            let row = format!("| {code} | {} |", words.trim());
            assert!(readme.contains(&row), "{row}");
        }
    }
}
