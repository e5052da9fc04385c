//! Commands about workloads, as far as they go without an engine.

use crate::run::User;

const YAML: &str = "name: dev\nworkloads:\n  system:\n    - name: postgres # ours\n  user:\n    - {name: web, image: a/b:1}\n    - {name: idle, image: a/b:1, enabled: false}\n";

fn user() -> User {
    let user = User::new();
    user.write("loko.yaml", YAML);
    user
}

#[test]
fn one_is_removed_only_by_who_means_it() {
    let user = user();
    let asked = user.loko("workloads remove postgres").ends_with(1);
    assert!(asked.stderr.contains("needs an answer"), "{}", asked.stderr);
    // Data is gone only where the cluster says so: there is none.
    let down = user.loko("workloads remove postgres --data --yes").ends_with(3);
    assert!(down.stderr.contains("was never created"), "{}", down.stderr);
    assert_eq!(user.read("loko.yaml"), YAML);

    let removed = user.loko("workloads remove postgres --yes").ends_with(0);
    assert!(
        removed.stderr.contains("the data of postgres stays"),
        "{}",
        removed.stderr
    );
    assert!(
        !user.read("loko.yaml").contains("postgres"),
        "{}",
        user.read("loko.yaml")
    );
    let without = user.loko("workloads remove web --yes").ends_with(0);
    assert!(!without.stderr.contains("data of web"), "{}", without.stderr);
}

#[test]
fn what_is_not_there_or_is_off_is_said_before_anything_is_done() {
    let user = user();
    let unknown = user.loko("workloads deploy nobody").ends_with(2);
    assert!(
        unknown.stderr.contains("there are: postgres, web, idle"),
        "{}",
        unknown.stderr
    );
    let off = user.loko("workloads deploy idle").ends_with(2);
    assert!(
        off.stderr.contains("loko workloads enable idle --now"),
        "{}",
        off.stderr
    );
    user.loko("workloads remove web --data --keep-data").ends_with(2);
}
