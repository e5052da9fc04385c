//! What is refused before anything is touched: exit code, place, and what to do.

use crate::run::{Said, User};

/// Runs a command that reads loko.yaml, and asserts that nothing was made.
#[track_caller]
fn refused(yaml: &str, command: &str, code: i32) -> Said {
    let user = User::new();
    user.write("loko.yaml", yaml);
    let said = user.loko(command).ends_with(code);
    assert_eq!(user.made(&["loko.yaml"]), Vec::<String>::new(), "{}", said.stderr);
    said
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_near_miss() {
    let said = refused("name: dev\nnetwork:\n  domian: dev.test.me\n", "create", 2);
    insta::assert_snapshot!(said.stderr, @r"
    loko::config

      × 1 error in ~/loko.yaml

    Error: loko::config::unknown_key

      × unknown key `domian`
       ╭─[~/loko.yaml:3:3]
     2 │ network:
     3 │   domian: dev.test.me
       ·   ───┬──
       ·      ╰── network.domian
       ╰────
      help: did you mean `domain`?
            allowed here: ip, domain, dns-port, wildcard, lb-ports, port-overrides
    ");
    assert_eq!(said.stdout, "");
}

#[test]
fn a_port_that_is_none_is_named_with_its_range() {
    let said = refused("name: dev\nnetwork:\n  lb-ports: {https: 99999}\n", "create", 2);
    insta::assert_snapshot!(said.stderr, @r"
    loko::config

      × 1 error in ~/loko.yaml

    Error: loko::config::out_of_range

      × 99999 is out of range: 1 to 65535
       ╭─[~/loko.yaml:3:21]
     2 │ network:
     3 │   lb-ports: {https: 99999}
       ·                     ──┬──
       ·                       ╰── network.lb-ports.https
       ╰────
      help: write a port, 1 to 65535
    ");
}

#[test]
fn an_address_that_is_none_is_named_with_what_is_allowed() {
    let said = refused("name: dev\nnetwork:\n  ip: 300.1.1.1\n", "create", 2);
    insta::assert_snapshot!(said.stderr, @r"
    loko::config

      × 1 error in ~/loko.yaml

    Error: loko::config::bad_value

      × `300.1.1.1` is no address
       ╭─[~/loko.yaml:3:7]
     2 │ network:
     3 │   ip: 300.1.1.1
       ·       ────┬────
       ·           ╰── network.ip
       ╰────
      help: wanted: `auto`, `lan`, or an address of this host
    ");
}

#[test]
fn every_problem_is_told_at_once_and_by_every_command_that_reads_the_file() {
    let yaml = "name: Dev\nnetwrok: {}\nnetwork: {dns-port: 0}\n";
    for command in [
        "create",
        "status",
        "stop",
        "start",
        "destroy --yes",
        "logs dns",
        "validate",
        "config show",
    ] {
        let said = refused(yaml, command, 2);
        for problem in [
            "3 errors in",
            "loko.yaml:1:7",
            "did you mean `network`?",
            "loko.yaml:3:21",
        ] {
            assert!(
                said.stderr.contains(problem),
                "{command}: `{problem}` is not in\n{}",
                said.stderr
            );
        }
    }
}

#[test]
fn a_file_that_is_no_yaml_is_refused_at_its_place() {
    let said = refused("name: dev\nnetwork: {ip: [\n", "create", 2);
    assert!(said.stderr.contains("~/loko.yaml:"), "{}", said.stderr);
}

#[test]
fn without_a_loko_yaml_it_says_what_to_do() {
    let user = User::new();
    for command in ["create", "status", "destroy --yes", "stop", "validate"] {
        let said = user.loko(command).ends_with(2);
        assert!(
            said.stderr.contains("no loko.yaml was found in ~ or above it"),
            "{}",
            said.stderr
        );
        for remedy in ["loko config generate", "-c FILE", "-e NAME"] {
            assert!(said.stderr.contains(remedy), "{}", said.stderr);
        }
    }
    assert_eq!(user.made(&[]), Vec::<String>::new());
}

#[test]
fn a_named_file_that_is_not_there_is_told() {
    let said = User::new().loko("-c nowhere.yaml create").ends_with(1);
    assert!(said.stderr.contains("failed to read nowhere.yaml"), "{}", said.stderr);
}

#[test]
fn without_an_engine_it_says_what_to_start_and_makes_nothing() {
    for command in ["create", "status", "stop", "start", "destroy --yes", "logs dns"] {
        let said = refused("name: dev\n", command, 7);
        for text in [
            "no container engine answers at unix:///nonexistent/docker.sock",
            "start Docker",
            "DOCKER_HOST",
        ] {
            assert!(
                said.stderr.contains(text),
                "{command}: `{text}` is not in\n{}",
                said.stderr
            );
        }
        assert_eq!(said.stdout, "", "{command}");
    }
}

#[test]
fn doctor_needs_neither_engine_nor_file_and_says_what_to_mend() {
    let user = User::new();
    let said = user.loko("doctor").ends_with(7);
    for text in [
        "✗ engine",
        "no container engine answers at unix:///nonexistent/docker.sock",
        "an environment cannot come up; failures: 1",
    ] {
        assert!(said.stdout.contains(text), "`{text}` is not in\n{}", said.stdout);
    }
    let report = user.loko("doctor -o json").ends_with(7).json();
    assert_eq!(report["verdict"], "failure");
    assert!(report["environment"].is_null());
    let engine = &report["findings"][0];
    assert_eq!(
        (&engine["check"], &engine["level"]),
        (&"engine".into(), &"failure".into())
    );
    for field in ["found", "why", "remedy"] {
        assert!(
            engine[field].as_str().is_some_and(|text| !text.is_empty()),
            "{engine:#}"
        );
    }
    assert_eq!(user.made(&[]), Vec::<String>::new());
}

#[test]
fn errors_are_plain_where_there_is_no_terminal_and_colored_where_asked() {
    let escape = '\u{1b}';
    assert!(!refused("nam: dev\n", "create", 2).stderr.contains(escape));
    assert!(
        refused("nam: dev\n", "create --color always", 2)
            .stderr
            .contains(escape)
    );
    assert!(!refused("nam: dev\n", "create --color never", 2).stderr.contains(escape));
}

#[test]
fn a_password_beside_a_typo_is_not_shown() {
    let user = User::new();
    let yaml = "name: dev\nregistry:\n  mirroring:\n    sources:\n      - name: quay\n        credentials: {username: me, pasword: hunter2}\n";
    user.write("loko.yaml", yaml);
    for command in ["create", "config validate", "config validate -o json"] {
        let said = user.loko(command).ends_with(2);
        let all = said.stdout + &said.stderr;
        assert!(all.contains("pasword") && !all.contains("hunter2"), "{command}: {all}");
    }
}
