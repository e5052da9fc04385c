//! What clients of other makers do with the registry: push, pull, copy and delete.

use std::time::Duration;

use super::{authority_is_put_back, host, json, load};
use crate::environment::Environment;
use crate::run::Run;
use crate::suite::Suite;

/// A program that trusts our authority, and finds the registry as this host does.
fn trusting(environment: &Environment, program: &str) -> Run {
    environment
        .place
        .run(program)
        .env("SSL_CERT_FILE", environment.place.authority())
}

pub(super) fn crane(suite: &Suite) {
    let it = &suite.registry;
    it.up();
    let host = host(it);
    let crane = |words: &str| trusting(it, "crane").words(words);
    let pushed = load(it, "crane/app:1");
    let digest = pushed["digest"].as_str().unwrap();
    assert_eq!(crane(&format!("digest {host}/crane/app:1")).ok().text(), digest);
    let file = suite.place.home.join("crane.tar");
    crane(&format!("pull {host}/crane/app:1")).args([&file]).ok();
    crane("push").args([&file]).args([format!("{host}/crane/again:1")]).ok();
    crane(&format!("copy {host}/crane/app:1 {host}/crane/copy:1")).ok();
    assert_eq!(crane(&format!("digest {host}/crane/copy:1")).ok().text(), digest);
    crane(&format!("delete {host}/crane/copy@{digest}")).ok();
    assert_ne!(crane(&format!("digest {host}/crane/copy:1")).any().code, Some(0));
    assert_eq!(crane(&format!("digest {host}/crane/app:1")).ok().text(), digest);
}

pub(super) fn skopeo(suite: &Suite) {
    let it = &suite.registry;
    it.up();
    let host = host(it);
    let digest = load(it, "skopeo/app:1")["digest"].as_str().unwrap().to_owned();
    let skopeo = |words: &str| trusting(it, "skopeo").words(words);
    let directory = suite.place.home.join("skopeo");
    let layout = |name: &str| format!("dir:{}/{name}", directory.display());
    fs_err::create_dir_all(&directory).unwrap();
    skopeo(&format!("copy docker://{host}/skopeo/app:1 {}", layout("a"))).ok();
    skopeo(&format!(
        "copy --preserve-digests {} docker://{host}/skopeo/copy:1",
        layout("a")
    ))
    .ok();
    let inspected = skopeo(&format!("inspect docker://{host}/skopeo/copy:1")).ok().json();
    assert_eq!(inspected["Digest"], digest.as_str());
    skopeo(&format!("delete docker://{host}/skopeo/copy:1")).ok();
    assert_ne!(
        skopeo(&format!("inspect docker://{host}/skopeo/copy:1")).any().code,
        Some(0)
    );
}

pub(super) fn oras(suite: &Suite) {
    let it = &suite.registry;
    it.up();
    let host = host(it);
    let directory = suite.place.home.join("oras");
    fs_err::create_dir_all(directory.join("out")).unwrap();
    fs_err::write(directory.join("note.txt"), "hello").unwrap();
    let oras = |words: &str| trusting(it, "oras").dir(&directory).words(words);
    oras(&format!(
        "push --artifact-type application/x.note {host}/oras/note:1 note.txt:text/plain"
    ))
    .ok();
    let shown = json(it, "show oras/note:1");
    assert_eq!(shown["artifact_type"], "application/x.note", "{shown:#}");
    oras(&format!("copy {host}/oras/note:1 {host}/oras/copy:1")).ok();
    oras(&format!("pull --output out {host}/oras/copy:1")).ok();
    assert_eq!(fs_err::read_to_string(directory.join("out/note.txt")).unwrap(), "hello");
    oras(&format!("manifest delete --force {host}/oras/copy:1")).ok();
    it.loko("registry show oras/copy:1").ends_with(1);
}

pub(super) fn chart(suite: &Suite) {
    let it = &suite.registry;
    it.up();
    let host = host(it);
    let directory = suite.place.home.join("chart");
    fs_err::create_dir_all(directory.join("mine/templates")).unwrap();
    fs_err::write(
        directory.join("mine/Chart.yaml"),
        "apiVersion: v2\nname: mine\nversion: 0.1.0\n",
    )
    .unwrap();
    let helm = |words: &str| trusting(it, "helm").dir(&directory).words(words);
    helm("package mine").ok();
    helm(&format!("push mine-0.1.0.tgz oci://{host}/charts --ca-file"))
        .args([it.place.authority()])
        .ok();
    let shown = json(it, "show charts/mine:0.1.0");
    assert!(
        shown["artifact_type"]
            .as_str()
            .is_some_and(|kind| kind.contains("helm")),
        "{shown:#}"
    );
    fs_err::remove_file(directory.join("mine-0.1.0.tgz")).unwrap();
    helm(&format!("pull oci://{host}/charts/mine --version 0.1.0 --ca-file"))
        .args([it.place.authority()])
        .ok();
    assert!(directory.join("mine-0.1.0.tgz").is_file());
}

/// Longer than a minute, which is when proxies and servers like to lose their patience. Meanwhile a `create` is at work.
pub(super) fn slow(suite: &Suite) {
    let it = &suite.registry;
    it.up();
    let host = host(it);
    let curl = |words: &str| {
        Run::new("curl")
            .words("--silent --show-error --fail --noproxy * --cacert")
            .args([it.place.authority()])
            .args(["--resolve", &format!("{host}:443:{}", it.address)])
            .words(words)
    };
    let begun = curl(&format!(
        "--include --request POST https://{host}/v2/slow/blobs/uploads/"
    ))
    .ok();
    let location = begun.stdout.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
    });
    let location = location.unwrap();
    let location = if location.starts_with('/') {
        format!("https://{host}{location}")
    } else {
        location
    };
    let file = suite.place.home.join("slow");
    fs_err::write(&file, vec![7_u8; 13_000_000]).unwrap();
    let sum = Run::new("sha256sum").args([&file]).ok();
    let digest = sum.text().split_whitespace().next().unwrap().to_owned();
    let separator = if location.contains('?') { '&' } else { '?' };
    let put = std::thread::scope(|scope| {
        let put = scope.spawn(|| {
            curl("--limit-rate 200k --request PUT --header content-type:application/octet-stream --upload-file")
                .args([&file])
                .args([format!("{location}{separator}digest=sha256:{digest}")])
                .ok()
        });
        authority_is_put_back(suite);
        put.join().unwrap()
    });
    assert!(put.elapsed > Duration::from_secs(61), "it was not slow: {put}");
    curl(&format!("--head https://{host}/v2/slow/blobs/sha256:{digest}")).ok();
}
