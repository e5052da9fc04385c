use insta::assert_snapshot;

use super::*;
use crate::samples::names;

#[test]
fn every_name_of_the_domain() {
    let domain = "dev.me".parse().unwrap();
    assert_snapshot!(corefile(
        &domain,
        true,
        &names(&["shop.dev.me"]),
        [10, 96, 0, 10].into()
    ));
}

#[test]
fn known_names_alone() {
    let domain = "dev.me".parse().unwrap();
    let hosts = names(&["shop.dev.me", "a.b.dev.me", "elsewhere.org"]);
    assert_snapshot!(corefile(&domain, false, &hosts, "fd00::a".parse().unwrap()));
}
