//! haproxy.cfg: what is read of it is what it says once it is rendered again.

use loko_haproxy::{parse, render};

/// Reads `bytes` as haproxy.cfg; what could be read is rendered and read once more.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = parse::parse(text) else { return };
    let rendered = render::render(&read);
    assert_eq!(parse::parse(&rendered.text).as_ref(), Ok(&read), "{text}");
    assert!(parse::is_as_written(&rendered.text));
    assert_eq!(parse::revision(&rendered.text), Some(rendered.revision.as_str()));
}
