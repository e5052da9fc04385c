use std::net::IpAddr;

use loko_config::{Facts, LoadOptions, load};

use super::*;

fn wanted(yaml: &str) -> Vec<Wanted> {
    let yaml = format!("name: dev\nnetwork: {{domain: dev.me}}\nworkloads:\n{yaml}");
    let loaded = load(&yaml, &LoadOptions::default()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let facts = Facts {
        ip: IpAddr::from([127, 0, 0, 1]),
        environment_variables: BTreeMap::new(),
    };
    let environment = loaded.environment.expand(&facts).unwrap();
    Wanted::all(&environment, Utf8Path::new("/project"), Utf8Path::new("/home/me")).unwrap()
}

#[test]
fn every_spelling_of_an_origin_is_understood() {
    let all = wanted(
        "
  helm-repositories: [{name: grafana, url: https://charts.example.com}, {name: ours, url: oci://r.example.com/charts/}]
  user:
    - {name: a, config: {chart: grafana/grafana, version: 9.0.0}}
    - {name: b, config: {chart: grafana, repo: {ref: grafana}}}
    - {name: c, config: {chart: app, repo: {url: 'http://127.0.0.1:8000'}}}
    - {name: d, config: {chart: ours/app}}
    - {name: e, config: {chart: 'oci://cr.${LOKO_DOMAIN}/charts/app'}}
    - {name: f, config: {chart: ./deploy/chart}}
    - {name: g, config: {chart: ~/chart}}
    - {name: h, config: {chart: ./chart, repo: {git: 'https://example.com/me/app.git', revision: v1}}}
    - {name: i, config: {chart: ., repo: {git: 'https://example.com/me/app.git'}}}
    - {name: unused, enabled: false, config: {chart: ./other}}
",
    );
    let origins: Vec<String> = all.iter().map(|one| one.origin.to_string()).collect();
    assert_eq!(
        origins,
        [
            "grafana of https://charts.example.com",
            "grafana of https://charts.example.com",
            "app of http://127.0.0.1:8000",
            "oci://r.example.com/charts/app",
            "oci://cr.dev.me/charts/app",
            "/project/deploy/chart",
            "/home/me/chart",
            "https://example.com/me/app.git@v1/chart",
            "https://example.com/me/app.git@HEAD/",
        ]
    );
    let hosts: Vec<Option<&str>> = all.iter().map(|one| one.origin.host()).collect();
    assert_eq!(
        hosts[2..6],
        [Some("127.0.0.1"), Some("r.example.com"), Some("cr.dev.me"), None]
    );
}

#[test]
fn a_path_does_not_lead_out_of_a_git_repository() {
    let source = ChartSource {
        chart: "charts/../../etc".into(),
        version: None,
        repository: None,
        repository_url: None,
        git: Some(loko_config::model::GitSource {
            url: "https://example.com/a.git".into(),
            revision: None,
        }),
        values: serde_json::Map::new(),
    };
    let origin = Origin::of(&source, &BTreeMap::new(), "/".into(), "/".into());
    assert!(matches!(origin, Err(ChartError::Path { .. })), "{origin:?}");
}

fn release(status: &str, hash: &str) -> Release {
    Release {
        name: "app".into(),
        namespace: "loko-workloads".into(),
        revision: 3,
        status: status.into(),
        workload: Some("app".into()),
        hash: Some(hash.into()),
    }
}

fn app(values: &str) -> Wanted {
    wanted(&format!(
        "  user: [{{name: app, config: {{chart: ./app, values: {values}}}}}]\n"
    ))
    .remove(0)
}

#[test]
fn a_release_is_changed_only_where_it_differs() {
    let app = app("{a: 1}");
    let label = app.label(Some("0123456789abcdef0123"));
    assert!(label.ends_with(".0123456789abcdef") && label.len() <= 63, "{label}");
    let decided = |content, release: Option<&Release>| decide(&app, content, release);
    assert_eq!(decided(None, None), Decision::Install);
    let there = release("deployed", &label);
    assert_eq!(decided(Some("0123456789abcdef0123"), Some(&there)), Decision::Keep);
    assert_eq!(decided(Some("another"), Some(&there)), Decision::Upgrade);
    // A git repository that cannot be asked: what is there stays.
    assert_eq!(decided(None, Some(&there)), Decision::Keep);
    assert_eq!(decide(&self::app("{a: 2}"), None, Some(&there)), Decision::Upgrade);
}

#[test]
fn what_failed_or_was_cut_off_is_mended() {
    let app = app("{}");
    let label = app.label(None);
    for (status, expected) in [
        ("failed", Decision::Repair),
        ("pending-install", Decision::Resume),
        ("pending-upgrade", Decision::Resume),
        ("pending-rollback", Decision::Resume),
        ("uninstalling", Decision::Again),
        ("uninstalled", Decision::Install),
    ] {
        assert_eq!(decide(&app, None, Some(&release(status, &label))), expected, "{status}");
    }
    let mut theirs = release("deployed", &label);
    theirs.workload = None;
    assert_eq!(decide(&app, None, Some(&theirs)), Decision::Foreign);
    assert!(surplus(&[], &[theirs]).is_empty(), "it is somebody else's");
}

#[test]
fn the_newest_revision_speaks_for_a_release() {
    let secret = |version: &str, status: &str, extra: Value| {
        let mut labels = json!({"owner": "helm", "name": "app", "version": version, "status": status});
        for (key, value) in extra.as_object().unwrap() {
            labels[key] = value.clone();
        }
        json!({"metadata": {"namespace": "n", "labels": labels}})
    };
    let ours = json!({WORKLOAD: "app", HASH: "h"});
    let secrets = [
        secret("9", "superseded", ours.clone()),
        secret("10", "failed", ours),
        json!({"metadata": {"labels": {"owner": "helm"}}}),
    ];
    let found = releases(&secrets);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].revision, found[0].status.as_str()), (10, "failed"));
    assert_eq!(found[0].secret(), "sh.helm.release.v1.app.v10");
    assert_eq!(surplus(&[], &found), [&found[0]]);
    assert!(
        surplus(
            &[Wanted {
                namespace: "n".into(),
                ..app("{}")
            }],
            &found
        )
        .is_empty()
    );
}

#[test]
fn versions_are_read_as_helm_prints_them() {
    assert_eq!(version("v3.14.0+g3fc9f4b"), Some((3, 14)));
    assert_eq!(version("v4.3\n"), Some((4, 3)));
    assert_eq!(version("v4.0.0-rc.1"), Some((4, 0)));
    assert_eq!(version("helm"), None);
    assert!((3, 13) < OLDEST && OLDEST <= (4, 0));
}
