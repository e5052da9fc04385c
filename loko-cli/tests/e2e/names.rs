//! Names: what dnsmasq says of the domain.

use crate::run::Run;
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "names",
    tests: &[
        Test("any_name_has_the_address", &["dig"], any_name),
        Test("aaaa_and_https_are_empty_and_no_error", &["dig"], empty_answers),
        Test("a_name_of_somebody_else_is_refused", &["dig"], others_names),
        Test("this_host_resolves_the_workloads_names", &["getent"], host_resolver),
    ],
};

fn any_name(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    for (name, how) in [
        ("anything", ""),
        ("whoami", ""),
        ("deep.below", ""),
        ("anything", "+tcp"),
    ] {
        let answer = quick.dig(&format!("{how} +short {} A", quick.host(name)));
        assert_eq!(answer.text(), quick.address, "{answer}");
    }
    assert_eq!(quick.dig(&format!("+short {} A", quick.domain)).text(), quick.address);
}

fn empty_answers(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    for kind in ["AAAA", "HTTPS"] {
        quick
            .dig(&format!("{} {kind}", quick.host("whoami")))
            .says("status: NOERROR")
            .says("ANSWER: 0");
    }
}

fn host_resolver(suite: &Suite) {
    let quick = &suite.quick;
    let steps = quick.up().report["steps"].as_array().unwrap();
    let told = steps.iter().find(|step| step["step"] == "resolver");
    if told.is_none_or(|step| step["outcome"]["changed"].is_null()) {
        println!("skipped: create could not, or need not, set up this host's resolver");
        return;
    }
    for name in ["whoami", "valkey"] {
        let found = Run::new("getent").args(["ahostsv4", &quick.host(name)]).ok();
        assert!(found.stdout.starts_with(&quick.address), "{found}");
    }
}

fn others_names(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    // `quick.loko.test` must not answer for `notquick.loko.test`, nor for the world.
    for name in [format!("not{}", quick.domain), "example.com".to_owned()] {
        quick
            .dig(&format!("{name} A"))
            .says("status: REFUSED")
            .says("ANSWER: 0");
    }
}
