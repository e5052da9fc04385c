//! `loko config`: what is generated, checked, shown and set.

use std::path::Path;

use crate::run::User;

#[test]
fn what_is_generated_is_valid_and_means_the_defaults() {
    let user = User::new();
    let mut meant = Vec::new();
    for words in ["", " --minimal"] {
        let text = user
            .loko(&format!("config generate --name shop{words}"))
            .ends_with(0)
            .stdout;
        user.write("loko.yaml", &text);
        user.loko("config validate --strict").ends_with(0);
        let lines = text.lines().count();
        assert!(if words.is_empty() { lines > 100 } else { lines < 10 }, "{text}");
        meant.push(user.loko("config show -o json").ends_with(0).json()["values"].clone());
    }
    user.write("loko.yaml", "name: shop\n");
    let defaults = user.loko("config show -o json").ends_with(0).json()["values"].clone();
    assert_eq!(meant, [defaults.clone(), defaults]);
    let domain = user.loko("config generate --minimal --domain shop.test").ends_with(0);
    assert!(domain.stdout.contains("shop.test"), "{}", domain.stdout);
}

#[test]
fn warnings_stop_nothing_unless_strict() {
    let user = User::new();
    user.write("loko.yaml", "name: dev\nnetwork: {domain: some-company.com}\n");
    let said = user.loko("config validate").ends_with(0);
    assert!(
        said.stdout.contains("warning[loko::config::real_domain]"),
        "{}",
        said.stdout
    );
    user.loko("config validate --strict").ends_with(2);
    let verdict = user.loko("config validate --strict -o json").ends_with(2).json();
    assert_eq!(verdict["valid"], false);
    assert_eq!(verdict["problems"][0]["line"], 2);
}

#[test]
fn a_value_is_set_and_every_other_byte_stays() {
    let user = User::new();
    let text = "name: dev # mine\r\ncomponents:\r\n  haproxy: {version: '3.3.6'} # edge\r\n";
    user.write("loko.yaml", text);
    user.loko("config set components.haproxy.version 3.10").ends_with(0);
    assert_eq!(user.read("loko.yaml"), text.replace("3.3.6", "3.10"));
    // What would be wrong is not written, and is told as in a file.
    for (words, said) in [
        ("components.haproxy.version a/b", "components.haproxy.version"),
        ("components.haproxi.version 3.3.7", "did you mean `haproxy`?"),
        ("network.lb-ports.http 443", "443"),
    ] {
        let refused = user.loko(&format!("config set {words}")).ends_with(2);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    assert_eq!(user.read("loko.yaml"), text.replace("3.3.6", "3.10"));
    assert_eq!(user.made(&["loko.yaml"]), Vec::<String>::new());
}

#[test]
fn the_schema_is_the_one_that_editors_are_given() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/loko.schema.json");
    let checked_in = fs_err::read_to_string(file).expect("it is checked in");
    let printed = User::new().loko("config schema").ends_with(0).stdout;
    assert_eq!(printed, checked_in.trim_end());
    let page = User::new().loko("config reference").ends_with(0).stdout;
    assert!(page.contains("| `lb-ports` |"), "{page}");
}
