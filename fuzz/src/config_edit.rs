//! An edit changes the bytes that it names, keeps a file loadable, or refuses.

use loko_config::edit::{Edit, WorkloadList, edit};
use loko_config::{LoadOptions, load};

/// The first byte chooses the edit, the rest is the text.
pub fn check(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let options = LoadOptions::default();
    let Ok(edited) = edit(text, &edit_of(*choice), &options) else {
        return;
    };
    let mut rebuilt = String::new();
    let mut at = 0;
    for change in &edited.changes {
        assert!(at <= change.span.start, "changes overlap or are out of order");
        rebuilt.push_str(&text[at..change.span.start]);
        rebuilt.push_str(&change.new);
        at = change.span.end;
    }
    rebuilt.push_str(&text[at..]);
    assert_eq!(rebuilt, edited.text, "bytes outside the changes differ");
    if load(text, &options).is_ok() {
        let loaded = load(&edited.text, &options);
        assert!(loaded.is_ok(), "an edited file does not load:\n{}", edited.text);
    }
}

fn edit_of(choice: u8) -> Edit {
    // Both texts are names by any rule.
    let name = |text: &str| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    match choice % 8 {
        0 => Edit::Set {
            path: "network.domain".to_owned(),
            value: "b.test".to_owned(),
        },
        1 => Edit::Set {
            path: "components.haproxy.version".to_owned(),
            value: "3.10".to_owned(),
        },
        2 => Edit::Set {
            path: "workloads.user[0].replicas".to_owned(),
            value: "2".to_owned(),
        },
        3 => Edit::Enable {
            workload: name("a"),
            enabled: false,
        },
        4 => Edit::AddWorkload {
            list: WorkloadList::User,
            fields: vec![("name".to_owned(), "new".into()), ("image".to_owned(), "x:1".into())],
        },
        5 => Edit::RemoveWorkload { workload: name("a") },
        6 => Edit::AddRepository {
            name: name("new"),
            url: "https://charts.example".to_owned(),
        },
        _ => Edit::RemoveRepository { name: name("g") },
    }
}
