//! What `loko` says of itself.

use crate::run::User;

/// Commands that a user can rely on.
const COMMANDS: [&str; 13] = [
    "create",
    "destroy",
    "start",
    "stop",
    "restart",
    "status",
    "logs",
    "config",
    "doctor",
    "env",
    "validate",
    "completion",
    "version",
];

#[test]
fn help_names_every_command_and_each_has_help_of_its_own() {
    let user = User::new();
    let help = user.loko("--help").ends_with(0).stdout;
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in\n{help}");
        let own = user.loko(&format!("{command} --help")).ends_with(0).stdout;
        assert!(own.contains(&format!("loko {command}")), "{own}");
    }
    assert_eq!(user.made(&[]), Vec::<String>::new());
}

#[test]
fn without_a_command_it_shows_help_and_fails() {
    let said = User::new().loko("").ends_with(2);
    assert!(said.stderr.contains("Usage: loko"), "{}", said.stderr);
}

#[test]
fn an_unknown_command_is_a_usage_error_with_the_near_miss() {
    let said = User::new().loko("craete").ends_with(2);
    assert!(said.stderr.contains("'create'"), "{}", said.stderr);
}

#[test]
fn version_needs_no_engine() {
    let user = User::new();
    insta::with_settings!({filters => vec![(env!("CARGO_PKG_VERSION"), "[version]")]}, {
        insta::assert_snapshot!(user.loko("version").ends_with(0).stdout, @r"
        loko [version]
        engine: none answers
        ");
        insta::assert_snapshot!(user.loko("--version").ends_with(0).stdout, @"loko [version]");
    });
    let json = user.loko("version -o json").ends_with(0).json();
    assert_eq!(json["loko"], env!("CARGO_PKG_VERSION"));
    assert!(json["engine"].is_null());
    assert_eq!(user.made(&[]), Vec::<String>::new());
}

#[test]
fn every_shell_has_completions_that_know_the_commands() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = user.loko(&format!("completion {shell}")).ends_with(0).stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not complete {command}");
        }
    }
    let said = user.loko("completion tcsh").ends_with(2);
    assert!(said.stderr.contains("possible values: bash"), "{}", said.stderr);
}

#[test]
fn the_manual_page_is_roff() {
    let page = User::new().loko("man").ends_with(0).stdout;
    assert!(page.contains(".TH loko 1"), "{page}");
    for command in COMMANDS {
        assert!(page.contains(command), "{command} is not in the page");
    }
}

#[test]
fn an_age_that_is_none_is_refused() {
    let said = User::new().loko("logs dns --since soon").ends_with(2);
    assert!(
        said.stderr.contains("write an age as 90s, 10m, 2h or 1d"),
        "{}",
        said.stderr
    );
}
