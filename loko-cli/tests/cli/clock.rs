//! Time is an argument: what is decided by it can then be decided for any time.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

/// The only places of the libraries that may ask the clock.
const ALLOWED: [&str; 1] = [
    // From which second on the engine is asked for lines of a log.
    "loko-haproxy/src/driver/reload.rs",
];
const CLOCKS: [&str; 4] = ["Timestamp::now", "SystemTime::now", "Zoned::now", "UtcDateTime::now"];

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn no_library_asks_the_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut read = 0;
    for library in ["config", "engine", "dns", "haproxy", "registry", "cluster"] {
        let directory = root.join(format!("loko-{library}/src"));
        // Published by itself, this crate is tested without the others beside it.
        if !directory.is_dir() {
            continue;
        }
        let mut files = Vec::new();
        sources(&directory, &mut files);
        for file in files {
            read += 1;
            let text = fs_err::read_to_string(&file).unwrap();
            let name = file.strip_prefix(&root).unwrap().display().to_string();
            let asks = |line: &str| CLOCKS.iter().any(|clock| line.contains(clock));
            let lines = text.lines().enumerate().filter(|(_, line)| asks(line));
            found.extend(
                lines
                    .filter(|_| !ALLOWED.contains(&name.as_str()))
                    .map(|(index, line)| format!("{name}:{}: {}", index + 1, line.trim())),
            );
        }
    }
    assert_eq!(found, Vec::<String>::new(), "{read} files");
}
