//! The exit codes: part of the interface, listed here and in the README, and tested.

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
