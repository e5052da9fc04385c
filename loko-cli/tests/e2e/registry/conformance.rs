//! The conformance suite of the OCI distribution specification, by the way that users go: HAProxy, Traefik, the registry.

use std::collections::BTreeSet;

use super::{clients, host, is_zot};
use crate::environment::Environment;

/// What distribution knows nothing of: `subject` and the referrers API, digests by SHA-512, and layers that only name an address.
const NOT_IN_DISTRIBUTION: [&str; 6] = [
    "OCI_API_REFERRER",
    "OCI_DATA_SUBJECT",
    "OCI_DATA_SUBJECT_MISSING",
    "OCI_DATA_SUBJECT_LIST",
    "OCI_DATA_NONDISTRIBUTABLE",
    "OCI_DATA_SHA512",
];
/// Groups of the suite in which something fails for that.
const FAIL_WITH_DISTRIBUTION: [&str; 7] = [
    "artifacts-with-subject",
    "empty",
    "index-with-subject",
    "missing-subject",
    "non-distributable-layers",
    "sha512",
    "sha512 blobs",
];
/// A blob that was deleted in one repository is found there as long as another has it: Zot keeps one copy of each. Deletion
/// need not be immediate (distribution-spec, "Deleting blobs").
const NOT_AT_ONCE_WITH_ZOT: &str = "OCI_API_BLOBS_ATOMIC";
/// All that fails for that, as the suite names parts of the API.
const FAIL_WITH_ZOT: [&str; 1] = ["Blob delete atomic"];

/// Pull, push, content discovery and content management pass; and what does not is exactly what is written here.
pub(super) fn suite(it: &Environment) {
    it.up();
    let without: &[&str] = if is_zot(it) {
        &[NOT_AT_ONCE_WITH_ZOT]
    } else {
        &NOT_IN_DISTRIBUTION
    };
    let (code, printed) = run(it, "passes", without);
    assert_eq!(code, Some(0), "{}", tail(&printed));
    for api in [
        "Blob get",
        "Manifest get by tag",
        "Blob post put",
        "Manifest put by tag",
        "Tag listing",
        "Manifest delete",
    ] {
        assert!(apis(&printed, "Pass").contains(api), "{api}\n{}", tail(&printed));
    }

    let (code, printed) = run(it, "all", &[]);
    assert_eq!(code, Some(1), "{}", tail(&printed));
    if is_zot(it) {
        assert_eq!(apis(&printed, "FAIL"), FAIL_WITH_ZOT.into(), "{}", tail(&printed));
    } else {
        assert_eq!(groups(&printed), FAIL_WITH_DISTRIBUTION.into(), "{}", tail(&printed));
    }
}

/// Runs it without some of its parts; gives its exit code and what it prints.
fn run(it: &Environment, name: &str, without: &[&str]) -> (Option<i32>, String) {
    let results = it.place.home.join(format!("conformance-{name}"));
    let mut run = clients::trusting(it, "oci-conformance")
        .env("OCI_REGISTRY", host(it))
        .env("OCI_REPO1", format!("conformance/{name}1"))
        .env("OCI_REPO2", format!("conformance/{name}2"))
        .env("OCI_LOG", "error")
        .env("OCI_RESULTS_DIR", results);
    for part in without {
        run = run.env(part, "false");
    }
    let ran = run.any();
    (ran.code, ran.stdout)
}

/// The parts of the API with this result: `  Blob get......................:       Pass`.
fn apis<'p>(printed: &'p str, result: &str) -> BTreeSet<&'p str> {
    let section = printed.split_once("API conformance:").map_or("", |(_, rest)| rest);
    let section = section.split("Data conformance:").next().unwrap_or_default();
    let found = section.lines().filter_map(|line| {
        let (name, found) = line.split_once(':')?;
        (found.trim() == result).then(|| name.trim().trim_end_matches('.'))
    });
    found.collect()
}

/// The groups of tests in which something failed: `  OCI Conformance Test/<group>[/<test>…]: FAIL`.
fn groups(printed: &str) -> BTreeSet<&str> {
    let failed = printed.lines().filter_map(|line| {
        let (_, name) = line.trim().strip_suffix(": FAIL")?.split_once('/')?;
        name.split('/').next()
    });
    failed.collect()
}

/// The summary at the end: all of it is eight hundred lines.
fn tail(printed: &str) -> &str {
    printed
        .find("OCI Conformance Result")
        .and_then(|at| printed.get(at..))
        .unwrap_or(printed)
}
