//! `loko config upgrade`, against servers on this machine: a few lines here that play each kind, and a real registry with TLS.

mod servers;

use std::fmt::Write as _;

use serde_json::json;

use crate::run::User;
use servers::{Registry, Reply, Server};

/// Every kind of source, from one server that plays them all.
fn everything(port: u16) -> String {
    format!(
        "\
name: dev # mine
network: {{domain: dev.loko.test}}
components:
  haproxy:
    # renovate: datasource=docker depName=haproxy registryUrl=http://127.0.0.1:{port}
    version: '3.3.6'   # quotes and comment stay
workloads:
  helm-repositories:
    - {{name: grafana, url: https://grafana.example}}
  user:
    - name: shop
      # renovate: datasource=docker depName=127.0.0.1:{port}/me/shop
      image: ghcr.io/me/shop:1.2-alpine
      env:
        # renovate: datasource=github-releases depName=me/tool
        TOOL: v1.0.0
        # renovate: datasource=github-tags depName=me/other registryUrl=http://127.0.0.1:{port}/git
        OTHER: '1.0'
    - name: grafana
      config:
        chart: grafana/grafana
        repo: {{ref: grafana}}
        # renovate: datasource=helm depName=grafana registryUrl=http://127.0.0.1:{port}/charts
        version: 9.0.0
    - name: oci
      config:
        chart: oci://ghcr.io/me/charts/app
        # renovate: datasource=helm depName=app registryUrl=oci://127.0.0.1:{port}/charts
        version: 1.0.0
"
    )
}

/// Plays a registry that wants a token and lists in pages, a Helm repository, GitHub, and a GitHub of somebody's own.
fn play(target: &str, authorization: Option<&str>, port: u16) -> Reply {
    let page = |path: &str| format!("link: <{path}>; rel=\"next\"\r\n");
    match (target, authorization) {
        ("/token?service=here&scope=repository%3Ame%2Fshop%3Apull", None) => Reply::ok(r#"{"token": "for-shop"}"#),
        ("/v2/me/shop/tags/list?n=1000", None) => Reply::new(
            "401 Unauthorized",
            &format!("www-authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"here\"\r\n"),
            "{}",
        ),
        ("/v2/me/shop/tags/list?n=1000", Some("Bearer for-shop")) => Reply::new(
            "200 OK",
            &page("/v2/me/shop/tags/list?n=1000&last=1.3"),
            r#"{"tags": ["1.2", "1.2-alpine", "1.3"]}"#,
        ),
        ("/v2/me/shop/tags/list?n=1000&last=1.3", Some("Bearer for-shop")) => {
            Reply::ok(r#"{"tags": ["1.10-alpine", "1.9-alpine", "1.11-alpine-rc.1", "2.0-alpine", "latest"]}"#)
        }
        ("/v2/haproxy/tags/list?n=1000", None) => {
            Reply::ok(r#"{"tags": ["3.3.6", "3.3.7", "3.2.99", "3.4-dev1", "3.4.0-dev2", "4.0.0"]}"#)
        }
        ("/v2/charts/app/tags/list?n=1000", None) => Reply::ok(r#"{"tags": ["1.0.0", "1.1.0_build5", "1.1.0-rc.1"]}"#),
        ("/charts/index.yaml", None) => {
            Reply::ok("apiVersion: v1\nentries:\n  grafana:\n  - version: 9.10.0\n  - version: 9.2.0\n  other: []\n")
        }
        // The token for GitHub goes to GitHub and nowhere else.
        ("/api/repos/me/tool/releases?per_page=100", Some("Bearer gh-secret")) => Reply::new(
            "200 OK",
            &page(&format!("http://127.0.0.1:{port}/api/repositories/7/releases?page=2")),
            r#"[{"tag_name": "v1.2.0", "prerelease": true}, {"tag_name": "v1.0.0"}]"#,
        ),
        ("/api/repositories/7/releases?page=2", Some("Bearer gh-secret")) => {
            Reply::ok(r#"[{"tag_name": "v1.1.0", "draft": false}, {"tag_name": "v0.9.0"}]"#)
        }
        ("/git/api/v3/repos/me/other/tags?per_page=100", None) => Reply::ok(r#"[{"name": "1.1"}, {"name": "1.0"}]"#),
        _ => Reply::new("404 Not Found", "", "{}"),
    }
}

#[test]
fn the_newest_of_each_source_is_taken_and_no_other_byte_changes() {
    let server = Server::start(play);
    let github = format!("http://127.0.0.1:{}/api", server.port);
    let variables = [("GITHUB_API_URL", github.as_str()), ("GITHUB_TOKEN", "gh-secret")];
    let text = everything(server.port);
    let user = User::new();
    user.write("loko.yaml", &text);

    // Nothing is written where nothing should be.
    let dry = user.loko_with("config upgrade --dry-run", &variables).ends_with(0);
    assert_eq!(user.read("loko.yaml"), text);
    let port = server.port.to_string();
    insta::with_settings!({filters => vec![(port.as_str(), "PORT")]}, {
        insta::assert_snapshot!(dry.stdout, @r"
        KEY                               VERSION                   LISTED AT
        components.haproxy.version        3.3.6 → 3.3.7             http://127.0.0.1:PORT/haproxy
        workloads.user[0].image           1.2-alpine → 1.10-alpine  http://127.0.0.1:PORT/me/shop
        workloads.user[0].env.TOOL        v1.0.0 → v1.1.0           http://127.0.0.1:PORT/api/repos/me/tool/releases
        workloads.user[0].env.OTHER       1.0 → 1.1                 http://127.0.0.1:PORT/git/api/v3/repos/me/other/tags
        workloads.user[1].config.version  9.0.0 → 9.10.0            grafana in http://127.0.0.1:PORT/charts/index.yaml
        workloads.user[2].config.version  1.0.0 → 1.1.0+build5      http://127.0.0.1:PORT/charts/app
        components.haproxy.version: there is also 4.0.0, which --major takes
        workloads.user[0].image: there is also 2.0-alpine, which --major takes
        ~/loko.yaml: 6 versions would change
        ");
    });

    // One alone.
    let one = user
        .loko_with("config upgrade --only grafana -o json", &variables)
        .ends_with(0)
        .json();
    assert_eq!(
        one,
        json!({
            "file": "~/loko.yaml",
            "written": true,
            "upgrades": [{
                "path": "workloads.user[1].config.version",
                "line": 24,
                "old": "9.0.0",
                "new": "9.10.0",
                "source": format!("grafana in http://127.0.0.1:{port}/charts/index.yaml"),
            }],
            "current": [],
            "unanswered": [],
            "ignored": [],
        })
    );
    assert_eq!(user.read("loko.yaml"), text.replace("9.0.0", "9.10.0"));

    // All, then nothing is left to do.
    user.loko_with("config upgrade", &variables).ends_with(0);
    let wanted = text
        .replace("9.0.0", "9.10.0")
        .replace("3.3.6", "3.3.7")
        .replace("1.2-alpine", "1.10-alpine")
        .replace("v1.0.0", "v1.1.0")
        .replace("'1.0'", "'1.1'")
        .replace("version: 1.0.0", "version: 1.1.0+build5");
    assert_eq!(user.read("loko.yaml"), wanted);
    let again = user.loko_with("config upgrade", &variables).ends_with(0);
    assert!(
        again.stdout.contains("nothing newer for 6 of its versions"),
        "{}",
        again.stdout
    );
    assert!(again.stdout.contains("there is also 4.0.0"), "{}", again.stdout);
    assert_eq!(user.read("loko.yaml"), wanted);

    // A higher first number only where it is asked for.
    user.loko_with("config upgrade --major", &variables).ends_with(0);
    let wanted = wanted.replace("3.3.7", "4.0.0").replace("1.10-alpine", "2.0-alpine");
    assert_eq!(user.read("loko.yaml"), wanted);
    assert_eq!(user.made(&["loko.yaml"]), Vec::<String>::new());
}

#[test]
fn a_source_that_does_not_answer_is_named_and_the_others_are_taken() {
    let server = Server::start(|target, _, _| match target {
        "/v2/good/tags/list?n=1000" => Reply::ok(r#"{"tags": ["1.1"]}"#),
        "/v2/private/tags/list?n=1000" => Reply::new("401 Unauthorized", "", r#"{"errors": [{"message": "log in"}]}"#),
        "/v2/page/tags/list?n=1000" => Reply::ok("<html>Welcome to the hotel</html>"),
        "/v2/broken/tags/list?n=1000" => Reply::new("503 Service Unavailable", "", "come back later"),
        "/api/repos/me/tool/releases?per_page=100" => {
            Reply::new("403 Forbidden", "", r#"{"message": "API rate limit exceeded for you"}"#)
        }
        _ => Reply::new("404 Not Found", "", "{}"),
    });
    let (port, closed) = (server.port, servers::closed_port());
    let docker = |name: &str, port: u16| format!("datasource=docker depName=127.0.0.1:{port}/{name}");
    let comments = [
        ("GOOD", docker("good", port)),
        ("GONE", docker("gone", port)),
        ("PRIVATE", docker("private", port)),
        ("PAGE", docker("page", port)),
        ("BROKEN", docker("broken", port)),
        ("CLOSED", docker("any", closed)),
        ("NPM", "datasource=npm depName=left-pad".to_owned()),
        ("LIMITED", "datasource=github-releases depName=me/tool".to_owned()),
        ("CHART", "datasource=helm depName=grafana".to_owned()),
    ];
    let mut text = "name: dev\nworkloads:\n  user:\n    - name: shop\n      image: me/shop:1\n      env:\n".to_owned();
    for (name, comment) in &comments {
        let _ = writeln!(text, "        # renovate: {comment}\n        {name}: '1.0'");
    }
    text.push_str("        # renovate: datasource=docker\n        LAST: '1.0'\n");
    let user = User::new();
    user.write("loko.yaml", &text);
    let github = format!("http://127.0.0.1:{port}/api");
    let said = user
        .loko_with("config upgrade -o json", &[("GITHUB_API_URL", &github)])
        .ends_with(1);
    assert_eq!(user.read("loko.yaml"), text.replacen("'1.0'", "'1.1'", 1));
    let report = said.json();
    assert_eq!(report["upgrades"][0]["path"], "workloads.user[0].env.GOOD");
    let unanswered: Vec<String> = report["unanswered"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| {
            let word = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
            format!("{}: {}\n  {}", word("path"), word("reason"), word("help"))
        })
        .collect();
    let (port, closed) = (port.to_string(), closed.to_string());
    insta::with_settings!({filters => vec![(port.as_str(), "PORT"), (closed.as_str(), "CLOSED")]}, {
        insta::assert_snapshot!(unanswered.join("\n"), @r"
        workloads.user[0].env.GONE: http://127.0.0.1:PORT/gone is not there
          check `depName` and `registryUrl` of the comment above the version
        workloads.user[0].env.PRIVATE: http://127.0.0.1:PORT does not say: log in
          say who you are with `docker login 127.0.0.1:PORT`
        workloads.user[0].env.PAGE: http://127.0.0.1:PORT answers with something else than versions: the registry's answer has a list of tags that cannot be read: expected value at line 1 column 1
          run it again later; where it stays so, is this the address of what the comment's datasource says?
        workloads.user[0].env.BROKEN: http://127.0.0.1:PORT does not answer: it says `come back later` (HTTP 503)
          check the network and, where there is one, the proxy (HTTPS_PROXY), and run it again
        workloads.user[0].env.CLOSED: http://127.0.0.1:CLOSED does not answer: Connection refused (os error 111)
          check the network and, where there is one, the proxy (HTTPS_PROXY), and run it again
        workloads.user[0].env.NPM: the datasource `npm` is not one that is asked here
          docker, helm, github-releases and github-tags are; others are left to Renovate
        workloads.user[0].env.LIMITED: http://127.0.0.1:PORT/api does not say: API rate limit exceeded for you
          put a token into GITHUB_TOKEN: without one GitHub answers 60 questions an hour
        workloads.user[0].env.CHART: the comment does not say in which repository the chart `grafana` is
          add registryUrl=https://charts.example, or registryUrl=oci://ghcr.io/owner/charts, to the comment
        ");
    });
    assert_eq!(
        report["ignored"],
        json!([{"line": 25, "reason": "`depName=` is missing"}])
    );
    // For people the same, on standard error.
    let said = user
        .loko_with("config upgrade", &[("GITHUB_API_URL", &github)])
        .ends_with(1);
    for word in [
        "workloads.user[0].env.CLOSED",
        "Connection refused",
        "docker login",
        "GITHUB_TOKEN",
    ] {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
}

#[test]
fn nothing_is_asked_where_the_file_or_the_words_are_wrong() {
    let server = Server::start(|_, _, _| Reply::ok(r#"{"tags": ["4.0"]}"#));
    let text = format!(
        "name: dev\ncomponents:\n  dnsmasq:\n    # renovate: datasource=docker depName=127.0.0.1:{}/x\n    version: '2.91'\n",
        server.port
    );
    let user = User::new();
    user.write("loko.yaml", &text);
    let said = user.loko("config upgrade --only haproxy").ends_with(2);
    assert!(
        said.stderr.contains("these have one: components.dnsmasq.version"),
        "{}",
        said.stderr
    );
    user.write("loko.yaml", &text.replace("version:", "versoin:"));
    user.loko("config upgrade --major").ends_with(2);
    assert_eq!(server.asked(), Vec::<String>::new());
    // The server would have answered. A proxy is not asked for what is on this machine.
    user.write("loko.yaml", &text);
    let proxy = format!("http://127.0.0.1:{}", servers::closed_port());
    let variables = [("HTTP_PROXY", proxy.as_str()), ("http_proxy", proxy.as_str())];
    user.loko_with("config upgrade --major --only dnsmasq", &variables)
        .ends_with(0);
    assert_eq!(user.read("loko.yaml"), text.replace("2.91", "4.0"));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_registry_with_tls_lists_more_tags_than_fit_a_page() {
    let Some(registry) = Registry::start() else {
        return;
    };
    // In the order of their names the newest is the last, behind the first thousand.
    let tags: Vec<String> = (0..1005).map(|patch| format!("3.0.{patch}")).collect();
    registry.push(
        "team/app",
        tags.iter().map(String::as_str).chain(["3.1.0", "3.1.0-debug", "4.0.0"]),
    );
    let text = format!(
        "name: dev\nworkloads:\n  user:\n    - name: app\n      \
         # renovate: datasource=docker depName=team/app registryUrl=https://localhost:{}\n      \
         image: localhost/team/app:3.0.7\n",
        registry.port
    );
    let user = User::new();
    user.write("loko.yaml", &text);
    let authority = registry.authority.to_string_lossy().into_owned();
    user.loko_with("config upgrade", &[("SSL_CERT_FILE", &authority)])
        .ends_with(0);
    assert_eq!(user.read("loko.yaml"), text.replace("3.0.7", "3.1.0"));

    // Nobody vouches for it: that is an answer of its own.
    user.write("loko.yaml", &text);
    user.write("none.pem", &servers::another_authority());
    let none = user.path().join("none.pem").to_string_lossy().into_owned();
    let said = user
        .loko_with("config upgrade", &[("SSL_CERT_FILE", &none)])
        .ends_with(1);
    assert!(said.stderr.contains("is not trusted"), "{}", said.stderr);
    assert_eq!(user.read("loko.yaml"), text);
}
