use loko_config::versions::parse_comment;

use super::*;
use crate::oci::calls::Page;
use crate::oci::{Call as _, Response};

fn lookup(words: &str) -> Result<Lookup, LookupError> {
    let comment = parse_comment(&format!("# renovate: {words}")).unwrap().unwrap();
    Lookup::of(&comment, GITHUB)
}

#[test]
fn each_comment_leads_to_its_list() {
    let hub = "https://registry-1.docker.io";
    for (words, wanted) in [
        ("datasource=docker depName=haproxy", format!("{hub}/library/haproxy")),
        ("datasource=docker depName=kindest/node", format!("{hub}/kindest/node")),
        (
            "datasource=docker depName=docker.io/valkey/valkey",
            format!("{hub}/valkey/valkey"),
        ),
        (
            "datasource=docker depName=nginx registryUrl=https://index.docker.io",
            format!("{hub}/library/nginx"),
        ),
        (
            "datasource=docker depName=registry.k8s.io/metrics-server/metrics-server",
            "https://registry.k8s.io/metrics-server/metrics-server".to_owned(),
        ),
        (
            "datasource=docker depName=registry.example:5000/me/app",
            "https://registry.example:5000/me/app".to_owned(),
        ),
        // As Docker has it, a registry on this machine needs no TLS.
        (
            "datasource=docker depName=localhost:5000/app",
            "http://localhost:5000/app".to_owned(),
        ),
        (
            "datasource=docker depName=127.0.0.1:5000/a/b",
            "http://127.0.0.1:5000/a/b".to_owned(),
        ),
        (
            "datasource=docker depName=me/app registryUrl=http://mirror.example:8080/hub/",
            "http://mirror.example:8080/hub/me/app".to_owned(),
        ),
        (
            "datasource=docker depName=registry.example/me/app registryUrl=https://registry.example",
            "https://registry.example/me/app".to_owned(),
        ),
        (
            "datasource=helm depName=grafana registryUrl=https://charts.example/stable/",
            "grafana in https://charts.example/stable/index.yaml".to_owned(),
        ),
        (
            "datasource=helm depName=app registryUrl=oci://ghcr.io/me/charts",
            "https://ghcr.io/me/charts/app".to_owned(),
        ),
        (
            "datasource=helm depName=oci://ghcr.io/me/charts/app",
            "https://ghcr.io/me/charts/app".to_owned(),
        ),
        (
            "datasource=github-releases depName=me/tool versioning=semver",
            "https://api.github.com/repos/me/tool/releases".to_owned(),
        ),
        (
            "datasource=github-tags depName=me/tool registryUrl=https://github.com",
            "https://api.github.com/repos/me/tool/tags".to_owned(),
        ),
        (
            "datasource=github-tags depName=me/tool registryUrl=https://git.example/",
            "https://git.example/api/v3/repos/me/tool/tags".to_owned(),
        ),
    ] {
        assert_eq!(lookup(words).map(|lookup| lookup.to_string()), Ok(wanted), "{words}");
    }
    let comment = parse_comment("# renovate: datasource=github-tags depName=me/tool")
        .unwrap()
        .unwrap();
    let lookup = Lookup::of(&comment, "http://127.0.0.1:1/").unwrap();
    assert_eq!((lookup.server(), lookup.host()), ("http://127.0.0.1:1", "127.0.0.1:1"));
}

#[test]
fn this_machine_is_known_by_its_loopback_addresses() {
    for here in [
        "localhost",
        "localhost:5000",
        "127.0.0.9:1",
        "127.0.0.1",
        "[::1]:5000",
        "[::1]",
    ] {
        assert!(is_here(here), "{here}");
    }
    for elsewhere in [
        "127.example",
        "localhost.example:5000",
        "192.0.2.1",
        "[2001:db8::1]:5000",
        "",
    ] {
        assert!(!is_here(elsewhere), "{elsewhere}");
    }
}

#[test]
fn a_comment_that_leads_nowhere_says_why() {
    for (words, wanted) in [
        ("datasource=npm depName=left-pad", "datasource `npm`"),
        (
            "datasource=docker depName=Not/An/Image",
            "depName `Not/An/Image` is no image",
        ),
        (
            "datasource=docker depName=a registryUrl=registry.example",
            "registryUrl `registry.example`",
        ),
        (
            "datasource=docker depName=a registryUrl=https://me:pw@registry.example",
            "registryUrl",
        ),
        (
            "datasource=helm depName=grafana",
            "in which repository the chart `grafana`",
        ),
        (
            "datasource=helm depName=grafana registryUrl=ftp://x",
            "registryUrl `ftp://x`",
        ),
        ("datasource=helm depName=x registryUrl=oci://ghcr.io/Me", "no chart"),
        ("datasource=github-releases depName=tool", "no repository on GitHub"),
        (
            "datasource=github-releases depName=me/../tool",
            "no repository on GitHub",
        ),
        ("datasource=github-releases depName=../tool", "no repository on GitHub"),
        (
            "datasource=docker depName=a versioning=regex:^v(?<major>\\d+)$",
            "versioning `regex:",
        ),
    ] {
        let error = lookup(words).unwrap_err();
        assert!(error.to_string().contains(wanted), "{words}: {error}");
        assert!(error.help().is_some(), "{words}");
    }
}

fn answer(status: u16, body: &str, link: Option<&str>) -> Response {
    Response {
        status,
        headers: link
            .iter()
            .map(|link| ("link".to_owned(), (*link).to_owned()))
            .collect(),
        body: body.as_bytes().to_vec(),
    }
}

#[test]
fn releases_are_read_page_by_page() {
    let call = GitHubList {
        path: "/repos/me/tool/releases".to_owned(),
        page: Page::First(100),
        token: Some("secret".to_owned()),
    };
    let request = call.request();
    assert_eq!(request.target, "/repos/me/tool/releases?per_page=100");
    assert!(request.headers.contains(&("authorization", "Bearer secret".to_owned())));
    assert!(!format!("{call:?}").contains("secret"));
    let body = r#"[{"tag_name": "v2.0.0", "name": "Two", "draft": false, "prerelease": false}]"#;
    // `name` of a release is its title, so it must not be read for its tag.
    assert!(
        call.read(&answer(200, body, None))
            .is_ok_and(|listed| listed.items == ["v2.0.0"])
    );
    let body = r#"[
        {"tag_name": "v3.0.0", "prerelease": true},
        {"tag_name": "v3.0.0-rc.1", "prerelease": true},
        {"tag_name": "v2.1.0", "draft": true},
        {"tag_name": "v2.0.0", "draft": false, "prerelease": false}
    ]"#;
    let next = "<https://api.github.com/repositories/1/releases?per_page=100&page=2>; rel=\"next\"";
    let listed = call.read(&answer(200, body, Some(next))).unwrap();
    assert_eq!(listed.items, ["v3.0.0-rc.1", "v2.0.0"]);
    let next = Page::At("/repositories/1/releases?per_page=100&page=2".to_owned());
    assert_eq!(listed.next, Some(next));

    let tags = r#"[{"name": "v1.2", "commit": {"sha": "0"}}, {"name": "v1.1"}]"#;
    assert_eq!(call.read(&answer(200, tags, None)).unwrap().items, ["v1.2", "v1.1"]);
    let limited = answer(403, r#"{"message": "API rate limit exceeded"}"#, None);
    let error = call.read(&limited).unwrap_err().to_string();
    assert!(error.contains("API rate limit exceeded"), "{error}");
    assert!(call.read(&answer(404, r#"{"message": "Not Found"}"#, None)).is_err());
    assert!(call.read(&answer(502, "<html>", None)).is_err());
    assert!(call.read(&answer(200, "{}", None)).is_err());
}

#[test]
fn a_charts_versions_are_those_of_its_entries() {
    let call = ChartIndex {
        chart: "grafana".to_owned(),
    };
    assert_eq!(call.request().target, "/index.yaml");
    let index = "apiVersion: v1\nentries:\n  grafana:\n  - {version: 9.1.0, appVersion: '1'}\n  - version: 9.0.0\n  - version: 1.2\n  \
                 other:\n  - version: 1.0.0\ngenerated: x\n";
    assert_eq!(call.read(&answer(200, index, None)).unwrap(), ["9.1.0", "9.0.0"]);
    let none = call.read(&answer(200, "entries: {}\n", None)).unwrap_err();
    assert!(none.to_string().contains("the chart grafana"), "{none}");
    assert!(call.read(&answer(200, "<html>", None)).is_err());
    assert!(call.read(&answer(404, "", None)).is_err());
}
