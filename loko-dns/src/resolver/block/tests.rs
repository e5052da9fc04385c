use proptest::prelude::*;

use super::*;
use crate::samples::{any_zone, names, zone};

#[test]
fn names_are_put_at_the_end_and_taken_away_again() {
    let file = "127.0.0.1 localhost\n";
    let with = set(file, &zone());
    insta::assert_snapshot!(with);
    assert_eq!(set(&with, &zone()), with);
    assert_eq!(remove(&with, &zone().environment), file);
}

#[test]
fn a_persons_lines_around_the_block_stay_and_so_does_its_place() {
    let with = set("127.0.0.1 localhost\n", &zone());
    let edited = format!("# mine\n{with}10.0.0.1 mine\n");
    assert_eq!(set(&edited, &zone()), edited);
    let more = Zone {
        hosts: names(&["new.dev.me"]),
        ..zone()
    };
    let changed = set(&edited, &more);
    assert!(
        changed.starts_with("# mine\n127.0.0.1 localhost\n10.0.0.1 mine\n# BEGIN"),
        "{changed}"
    );
    assert_eq!(
        remove(&changed, &more.environment),
        "# mine\n127.0.0.1 localhost\n10.0.0.1 mine\n"
    );
}

#[test]
fn a_block_that_lost_its_last_line_takes_nothing_with_it() {
    let with = set("a\n", &zone());
    let torn = with.replace("# END LoKO dev\n", "10.0.0.1 mine\n");
    let rest = remove(&torn, &zone().environment);
    assert!(rest.ends_with("10.0.0.1 mine\n"));
    assert!(!rest.contains("LoKO"));
}

#[test]
fn a_block_with_a_persons_line_in_it_is_written_anew() {
    let with = set("", &zone());
    let edited = with.replace("# END", "10.0.0.1 mine\n# END");
    assert_eq!(set(&edited, &zone()), with);
}

#[test]
fn blocks_of_two_environments_do_not_touch() {
    let other = Zone {
        environment: "dev2".parse().unwrap(),
        ..zone()
    };
    let both = set(&set("x\n", &zone()), &other);
    assert_eq!(remove(&both, &zone().environment), set("x\n", &other));
    assert_eq!(remove(&remove(&both, &other.environment), &zone().environment), "x\n");
    assert_eq!(lines(&both, &other.environment).len(), 2);
}

proptest! {
    #[test]
    fn what_was_there_comes_back_byte_by_byte(text in "[a-z#. \\n]{0,60}", zone in any_zone()) {
        prop_assert_eq!(remove(&set(&text, &zone), &zone.environment), text);
    }

    #[test]
    fn setting_twice_is_setting_once(text in "(?s).{0,60}", zone in any_zone()) {
        let once = set(&text, &zone);
        prop_assert_eq!(set(&once, &zone), once);
    }
}
