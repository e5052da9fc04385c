//! The version of systemd.

use std::fmt;

use nom::bytes::complete::{tag, take_till};
use nom::character::complete::{char, u16};
use nom::combinator::opt;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};
use serde::Serialize;

/// `252.39` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Version {
    /// 252
    pub major: u16,
    /// 39; 0 where there is none.
    pub minor: u16,
}

impl Version {
    /// From what `resolvectl --version` prints: `systemd 252 (252.39-1~deb12u2)`.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        fn version(input: &str) -> IResult<&str, (u16, Option<u16>)> {
            let minor = preceded((take_till(|c| c == '('), char('('), u16), opt(preceded(char('.'), u16)));
            let (input, major) = preceded(tag("systemd "), terminated(u16, opt(char(' ')))).parse(input)?;
            let (input, minor) = opt(minor).parse(input)?;
            Ok((input, (major, minor.flatten())))
        }
        let line = text.lines().next()?;
        let (_, (major, minor)) = version(line).ok()?;
        Some(Self {
            major,
            minor: minor.unwrap_or_default(),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for (text, expected) in [
            ("systemd 252 (252.39-1~deb12u2)\n+PAM", Some((252, 39))),
            ("systemd 257 (257.8-1~deb13u1)", Some((257, 8))),
            ("systemd 258 (258-1-arch)", Some((258, 0))),
            ("systemd 258", Some((258, 0))),
            ("systemd 258 (v258~rc2)", Some((258, 0))),
            ("resolvectl 252", None),
            ("", None),
        ] {
            let read = Version::of(text).map(|version| (version.major, version.minor));
            assert_eq!(read, expected, "{text}");
        }
    }
}
