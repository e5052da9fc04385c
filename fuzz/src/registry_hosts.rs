//! What is read from a `hosts.toml` is written so that it reads back the same.

use std::collections::BTreeMap;

use loko_registry::HostChanges;
use loko_registry::hosts::{is_ours, parse};

/// Reads `bytes`; what was read must survive being written, and a node that holds what is wanted needs no change.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text) {
        Ok(file) => {
            let written = file.render();
            assert!(is_ours(&written), "without our first line:\n{written}");
            // A host that is there twice under two spellings is one table name, which may be there once.
            let mut urls: Vec<_> = file.hosts.iter().map(|host| &host.url).collect();
            urls.sort();
            urls.dedup();
            if urls.len() == file.hosts.len() {
                assert_eq!(parse(&written).as_ref(), Ok(&file), "{written}");
            }
            let wanted = BTreeMap::from([("a.test".to_owned(), file)]);
            let found = BTreeMap::from([("a.test".to_owned(), written)]);
            assert!(HostChanges::between(&wanted, &found).is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
