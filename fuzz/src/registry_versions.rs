//! Whatever a datasource answers is read as versions or refused; and a comment leads to a list that an address can be made of, or
//! nowhere.

use loko_config::versions::parse_comment;
use loko_registry::oci::calls::Page;
use loko_registry::oci::{Call as _, Response};
use loko_registry::versions::{ChartIndex, GITHUB, GitHubList, Lookup};

/// Takes the first line of `bytes` as a comment and the rest as the answer to it.
pub fn check(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    if let Ok(line) = std::str::from_utf8(&bytes[..end])
        && let Some(Ok(comment)) = parse_comment(line)
        && let Ok(lookup) = Lookup::of(&comment, GITHUB)
    {
        let server = lookup.server();
        assert!(
            server.starts_with("https://") || server.starts_with("http://"),
            "{server}"
        );
        assert!(
            !lookup.host().is_empty() && !lookup.host().contains(['/', '@']),
            "{server}"
        );
        assert!(lookup.to_string().contains(server));
    }
    let response = Response {
        status: 200,
        body: bytes.get(end + 1..).unwrap_or_default().to_vec(),
        ..Response::default()
    };
    let page = GitHubList {
        path: "/repos/a/b/releases".to_owned(),
        page: Page::First(100),
        token: None,
    };
    let _ = page.read(&response);
    let chart = ChartIndex { chart: "a".to_owned() };
    let _ = chart.read(&response);
}
