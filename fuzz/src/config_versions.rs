//! Versions are found where they stand, and an upgrade changes their bytes alone.

use loko_config::versions::{Policy, Upgrade, apply, newest, pinned};

/// Finds the versions of `bytes` and upgrades each.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (found, _) = pinned(text);
    let mut upgrades = Vec::new();
    for pinned in found {
        assert_eq!(&text[pinned.span.start..pinned.span.end], pinned.version);
        let next = format!("{}1", pinned.version);
        let tags = [next.as_str(), "latest", "1.0.0-rc.1"];
        if let Some(new) = newest(&pinned.version, tags, Policy { major: true }) {
            let new = new.to_owned();
            upgrades.push(Upgrade { pinned, new });
        }
    }
    let new = apply(text, &upgrades);
    let old_bytes: usize = upgrades.iter().map(|upgrade| upgrade.pinned.version.len()).sum();
    let new_bytes: usize = upgrades.iter().map(|upgrade| upgrade.new.len()).sum();
    // A version under two comments counts once in the text and twice in the list.
    assert!(new.len() + old_bytes <= text.len() + new_bytes);
    assert_eq!(apply(text, &[]), text);
}
