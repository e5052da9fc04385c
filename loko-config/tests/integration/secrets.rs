//! Nothing that stands in the place of a secret is in anything that is said of a file, whatever else is wrong with it.

use std::fmt::Write as _;

use loko_config::{LoadOptions, Problem, Problems, load, problem};
use miette::Diagnostic as _;
use proptest::prelude::*;

/// Files with a secret at `SECRET`. Something can be broken at each line; `⏎` is the end of a line that stays with the next,
/// because the one says what the other is.
const FILES: &[&str] = &[
    "name: dev\nregistry:\n  mirroring:\n    enabled: true\n    sources:\n      - name: docker_hub\n        credentials:\n          username: me\n          password: SECRET\n",
    "name: dev\nregistry:\n  mirroring:\n    sources:\n      - {name: quay, credentials: {username: me, password: SECRET}, enabled: true}\n",
    "name: dev\nregistry:\n  mirroring:\n    sources:\n      - name: quay\n        credentials: {pasword: \"SECRET\", username: me}\n",
    "name: dev\nregistry:\n  mirroring:\n    sources:\n      - name: quay\n        credentials: SECRET\n",
    "name: dev\nregistry:\n  mirroring:\n    sources:\n      - name: quay\n        credentials:\n          username: me\n          password: 'SECRET'   # ask me\n",
    "name: dev\nregistry:\n  mirroring:\n    sources:\n      - name: quay\n        credentials:\n          password:⏎            SECRET\n          username: me\n",
    "name: dev\nregistry:\n  mirroring:\n    sources:\n      - name: quay\n        credentials:\n          password: >-⏎            SECRET\n          username: me\n",
    "name: dev\nregistry:\n  mirroring:\n    sources:\n      - name: own\n        url: https://me:SECRET@registry.example\n",
    "name: dev\nregistry:\n  password: SECRET\n",
    "name: dev\ncluster:\n  kubeadm-patches:\n    - |⏎      kind: InitConfiguration⏎      bootstrapTokens:⏎        - token: SECRET\n",
    "name: dev\nworkloads:\n  user:\n    - name: web\n      image: web:1\n      env:⏎        DB: SECRET\n        OTHER: x\n",
    "name: dev\nworkloads:\n  user:\n    - name: web\n      image: web:1\n      env: {DB: SECRET, OTHER: x}\n",
    "name: dev\nworkloads:\n  user:\n    - name: web\n      image: web:1\n      env:⏎        - name: DB⏎          value: SECRET\n",
    "name: dev\nworkloads:\n  user:\n    - name: web\n      image: web:1\n      env:⏎      - DB=SECRET⏎      - name: B⏎        vlaue: SECRET\n",
    "name: dev\nworkloads:\n  user:\n    - name: web\n      image: web:1\n      args: [--password, SECRET, --port, \"1\"]\n      command: [sh, -c, \"run --token=SECRET\"]\n",
    "name: dev\nworkloads:\n  user:\n    - name: web\n      image: web:1\n      args:\n        - --password⏎        - SECRET\n        - \"--port\"\n",
    "name: dev\nworkloads:\n  user:\n    - name: web\n      image: web:1\n      files:⏎        /etc/web.conf: |⏎          user = me⏎          SECRET\n",
    "name: dev\nworkloads:\n  user:\n    - name: web\n      config:\n        chart: a/web\n        repo: {url: \"https://me:SECRET@charts.example\"}\n        values: {auth: {adminPasswrod: SECRET}, list: [{name: API_KEY, value: SECRET}]}\n",
    "name: dev\nworkloads:\n  helm-repositories:\n    - name: a\n      url: https://SECRET@charts.example\n  system:\n    - name: postgres\n      config: {rootPassword: SECRET}\n      # password: SECRET\n",
];

/// What is put in at the start of a line, in place of it or after it.
const BREAKS: &[&str] = &[
    "",
    "nmae: x",
    "\t",
    "- ",
    "  x: [",
    "}",
    "\"",
    "'",
    "x",
    ": ",
    "*a",
    "&a ",
    "!t ",
    "{",
    "? ",
    "<<: 1",
    "---",
    "|",
    "name: dev",
    "%",
    "  ",
    "ports: [99999]",
    "user: 5",
];

/// Everything that is said, in every form.
fn said(problems: &Problems) -> String {
    let mut out = format!("{problems}\n{problems:?}\n{}", problems.to_text());
    let json = serde_json::to_string(problems).unwrap();
    // miette's report without colours: excerpts, labels and causes.
    let mut report = String::new();
    miette::NarratableReportHandler::new()
        .with_context_lines(3)
        .render_report(&mut report, problems)
        .unwrap();
    let _ = write!(out, "{json}\n{report}\n{}", problems.text());
    for one in problems.list() {
        let _ = write!(out, "{one:?}");
        let span = problems.read_span_of(one);
        out.push_str(&span);
    }
    out
}

trait ReadSpan {
    fn read_span_of(&self, problem: &Problem) -> String;
}

impl ReadSpan for Problems {
    /// What an embedder reads beside a problem.
    fn read_span_of(&self, problem: &Problem) -> String {
        let source = self.source_code().unwrap();
        let contents = source.read_span(&problem.span.into(), 5, 5).unwrap();
        String::from_utf8(contents.data().to_vec()).unwrap()
    }
}

fn check(text: &str, secret: &str) -> Result<(), TestCaseError> {
    let options = LoadOptions::default();
    match load(text, &options) {
        Ok(loaded) => {
            let warnings = problem::render_text("loko.yaml", &loaded.warnings);
            let json = serde_json::to_string(&loaded.warnings).unwrap();
            prop_assert!(
                !warnings.contains(secret) && !json.contains(secret),
                "{text}\n{warnings}"
            );
        }
        Err(problems) => {
            let said = said(&problems);
            prop_assert!(!said.contains(secret), "{text}\n=====\n{said}");
            let shown = problems.text();
            prop_assert_eq!(shown.len(), text.len());
            prop_assert_eq!(shown.chars().count(), text.chars().count());
            let lines = |text: &str| text.match_indices('\n').map(|(at, _)| at).collect::<Vec<_>>();
            prop_assert_eq!(lines(shown), lines(text));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_secret_is_never_shown(
        file in prop::sample::select(FILES),
        secret in "[*&!%@'\"#|>-]?[a-zA-ZäßЖ€😀]{3}[a-z]{0,2}[$:,= ]?[0-9]{4}",
        breaks in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(BREAKS), 0..3), 0..3),
    ) {
        let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
        for (at, what, how) in breaks {
            let line = at.get(&lines);
            // The line of a secret loses no key: without it nobody can know what the value is.
            let fixed = line.contains("SECRET");
            let at = at.index(lines.len());
            match how {
                0 if !fixed => lines[at] = (*what).to_owned(),
                1 if !fixed => lines[at].push_str(what),
                _ => lines.insert(at, (*what).to_owned()),
            }
        }
        check(&(lines.join("\n") + "\n").replace('⏎', "\n").replace("SECRET", &secret), &secret)?;
    }
}

#[test]
fn the_excerpt_points_at_the_typo_and_hides_the_password() {
    let text = "name: dev\nregistry:\n  mirroring:\n    sources:\n      - {name: quay, credentials: {pasword: \"hünter2\", username: me}, enabeld: true}\n";
    let problems = load(text, &LoadOptions::default()).unwrap_err();
    let mut report = String::new();
    miette::NarratableReportHandler::new()
        .render_report(&mut report, &problems)
        .unwrap();
    insta::assert_snapshot!(report);
    insta::assert_snapshot!("excerpt", problems.text());
}

#[test]
fn a_value_of_the_wrong_kind_is_not_quoted_but_what_is_wanted_is_said() {
    let text = "name: dev\nregistry:\n  mirroring:\n    sources:\n      - name: quay\n        credentials: {username: 7, password: 0815}\nworkloads:\n  user:\n    - name: web\n      image: web:1\n      env: {DB: \"${LOKO_DOMIAN}/${x7}\", PASSWORD: \"a${TOPSECRET}\"}\n      ports: [99999]\n";
    let problems = load(text, &LoadOptions::default()).unwrap_err();
    insta::assert_snapshot!(problems.to_text());
}
