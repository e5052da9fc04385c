//! Which keys a version of Zot knows.

/// A version of Zot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ZotVersion {
    major: u32,
    minor: u32,
    patch: u32,
}

impl ZotVersion {
    /// What is assumed of a tag that names no version, such as `latest`.
    pub const NEWEST_KNOWN: Self = Self::new(2, 1, 20);

    /// A version by its three numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads an image tag: `v2.1.20`, `2.1.3`, `v2.1.2-rc1` (which counts as 2.1.2). Anything else is [`Self::NEWEST_KNOWN`].
    #[must_use]
    pub fn of_tag(tag: &str) -> Self {
        let text = tag.strip_prefix('v').unwrap_or(tag);
        let text = text.split_once(['-', '+']).map_or(text, |(numbers, _)| numbers);
        let mut numbers = text.split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Self::new(major, minor, patch),
            _ => Self::NEWEST_KNOWN,
        }
    }

    /// `http.compat`, from 2.1.2.
    #[must_use]
    pub fn knows_compat(self) -> bool {
        self >= Self::new(2, 1, 2)
    }

    /// `extensions.sync.registries[].preserveDigest`, from 2.1.3.
    #[must_use]
    pub fn knows_preserve_digest(self) -> bool {
        self >= Self::new(2, 1, 3)
    }

    /// `http.readTimeout` and `http.writeTimeout`, from 2.1.17; older ones have no such limits.
    #[must_use]
    pub fn knows_timeouts(self) -> bool {
        self >= Self::new(2, 1, 17)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_versions() {
        for (tag, version) in [
            ("v2.1.20", ZotVersion::new(2, 1, 20)),
            ("2.1.3", ZotVersion::new(2, 1, 3)),
            ("v2.1.2-rc1", ZotVersion::new(2, 1, 2)),
            ("v2.1.9", ZotVersion::new(2, 1, 9)),
            ("latest", ZotVersion::NEWEST_KNOWN),
            ("v2", ZotVersion::NEWEST_KNOWN),
            ("v2.1.x", ZotVersion::NEWEST_KNOWN),
        ] {
            assert_eq!(ZotVersion::of_tag(tag), version, "{tag}");
        }
        assert!(!ZotVersion::of_tag("v2.1.9").knows_timeouts());
        assert!(ZotVersion::of_tag("v2.1.20").knows_timeouts());
    }
}
