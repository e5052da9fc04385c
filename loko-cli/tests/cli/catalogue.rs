//! Entries of the catalogue of one's own.

use crate::run::{Said, User};

const MINE: &str = "description: Mine, a service of our own
category: utility
image: registry.example.org/mine
version: \"1.2\"
ports: [7000]
http: {port: 8080}
secrets: {token: {kind: token}}
connections: {url: \"mine://%{host}:%{port.7000}\"}
";

/// Asserts that standard error says it, however its lines are broken.
#[track_caller]
fn complains(said: &Said, text: &str) {
    let words: Vec<&str> = said
        .stderr
        .split(|c: char| c.is_whitespace() || c == '│')
        .filter(|word| !word.is_empty())
        .collect();
    assert!(words.join(" ").contains(text), "`{text}` in\n{}", said.stderr);
}

#[test]
fn a_folder_adds_and_replaces_entries() {
    let user = User::new();
    let count = |user: &User| {
        let listed = user.loko("catalog list -o json").ends_with(0).json();
        listed.as_array().map_or(0, Vec::len)
    };
    let before = count(&user);
    user.write("loko.yaml", "name: dev\nworkloads: {}\n");
    let refused = user.loko("workloads add mine").ends_with(2);
    complains(&refused, "the catalogue has no entry `mine`");

    user.write("home/catalogue/mine.yaml", MINE);
    user.write("home/catalogue/postgres.yaml", &MINE.replace("7000", "15432"));
    user.write("home/catalogue/notes.txt", "not an entry");
    assert_eq!(count(&user), before + 1);
    let info = user.loko("catalog info mine -o json").ends_with(0).json();
    assert_eq!(info["image"], "registry.example.org/mine");
    let info = user.loko("catalog info postgres -o json").ends_with(0).json();
    assert_eq!(info["ports"][0], "15432");

    user.loko("workloads add mine").ends_with(0);
    user.loko("config validate").ends_with(0);
    // Its ports are known to the rules of loko.yaml.
    user.write(
        "loko.yaml",
        "name: dev\nworkloads:\n  system: [{name: mine}]\n  user: [{name: other, image: x, ports: [7000]}]\n",
    );
    complains(&user.loko("config validate").ends_with(2), "7000");
}

#[test]
fn a_mistake_in_an_entry_names_the_file() {
    let user = User::new();
    user.write("loko.yaml", "name: dev\nworkloads: {system: [{name: mine}]}\n");
    user.write("home/catalogue/mine.yaml", &MINE.replace("image:", "imagee:"));
    let listed = user.loko("catalog list").ends_with(2);
    complains(&listed, "unknown field `imagee`");
    complains(&listed, "home/catalogue/mine.yaml)");
    user.write("home/catalogue/mine.yaml", "{");
    let listed = user.loko("catalog list").ends_with(2);
    complains(&listed, "home/catalogue/mine.yaml)");
}
