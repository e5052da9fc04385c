//! `loko registry` and `loko certs untrust` where there is nothing to speak to.

use crate::run::User;

#[test]
fn an_environment_without_a_registry_says_how_it_gets_one() {
    let user = User::new();
    for yaml in [
        "name: dev\nregistry: {enabled: false}\n",
        "name: dev\ncomponents: {registry: {enabled: false}}\n",
    ] {
        user.write("loko.yaml", yaml);
        for command in ["status", "repos", "tags app", "rm app:1 --yes", "prune"] {
            let said = user.loko(&format!("registry {command}")).ends_with(2);
            assert!(said.stderr.contains("dev has no registry"), "{}", said.stderr);
            assert!(said.stderr.contains("registry: {enabled: true}"), "{}", said.stderr);
        }
    }
}

#[test]
fn images_go_into_nodes_without_a_registry() {
    let user = User::new();
    user.write("loko.yaml", "name: dev\nregistry: {enabled: false}\n");
    // It gets as far as the engine, which is not there.
    user.loko("registry load --nodes app:1").ends_with(7);
    user.loko("registry load app:1").ends_with(2);
}

#[test]
fn what_is_to_be_removed_is_named() {
    let user = User::new();
    user.write("loko.yaml", "name: dev\n");
    for command in [
        "rm",
        "purge",
        "load",
        "show",
        "purge app --all",
        "purge --all --mirrored",
        "repos --local --source quay",
        "show No:Image",
    ] {
        user.loko(&format!("registry {command}")).ends_with(2);
    }
}

#[test]
fn without_an_engine_it_is_the_engine_that_is_missing() {
    let user = User::new();
    user.write("loko.yaml", "name: dev\n");
    user.loko("registry status").ends_with(7);
}

#[test]
fn nothing_is_taken_back_where_nothing_was_trusted() {
    let user = User::new();
    let said = user.loko("certs untrust").ends_with(0);
    assert_eq!(said.stdout, "nothing to do");
    assert_eq!(user.made(&[]), Vec::<String>::new());
}
