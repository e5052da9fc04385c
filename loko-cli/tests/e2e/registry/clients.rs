//! What clients of other makers do with the registry: push, pull, copy and delete.

use std::path::Path;
use std::time::Duration;

use super::{AUTHORITY, host, json, load, random};
use crate::environment::Environment;
use crate::run::Run;
use crate::suite::Suite;

/// A program that trusts our authority, and finds the registry as this host does.
pub(super) fn trusting(environment: &Environment, program: &str) -> Run {
    environment
        .place
        .run(program)
        .env("SSL_CERT_FILE", environment.place.authority())
}

pub(super) fn crane(it: &Environment) {
    it.up();
    let host = host(it);
    let crane = |words: &str| trusting(it, "crane").words(words);
    let pushed = load(it, "crane/app:1");
    let digest = pushed["digest"].as_str().unwrap();
    assert_eq!(crane(&format!("digest {host}/crane/app:1")).ok().text(), digest);
    let file = it.place.home.join("crane.tar");
    crane(&format!("pull {host}/crane/app:1")).args([&file]).ok();
    crane("push").args([&file]).args([format!("{host}/crane/again:1")]).ok();
    crane(&format!("copy {host}/crane/app:1 {host}/crane/copy:1")).ok();
    assert_eq!(crane(&format!("digest {host}/crane/copy:1")).ok().text(), digest);
    crane(&format!("delete {host}/crane/copy@{digest}")).ok();
    assert_ne!(crane(&format!("digest {host}/crane/copy:1")).any().code, Some(0));
    assert_eq!(crane(&format!("digest {host}/crane/app:1")).ok().text(), digest);
}

pub(super) fn skopeo(it: &Environment) {
    it.up();
    let host = host(it);
    let digest = load(it, "skopeo/app:1")["digest"].as_str().unwrap().to_owned();
    let skopeo = |words: &str| trusting(it, "skopeo").words(words);
    let directory = it.place.home.join("skopeo");
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

pub(super) fn oras(it: &Environment) {
    it.up();
    let host = host(it);
    let directory = it.place.home.join("oras");
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

pub(super) fn chart(it: &Environment) {
    it.up();
    let host = host(it);
    let directory = it.place.home.join("chart");
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

/// Asks for the size of a layer that takes some minutes: two gigabytes instead of what is enough for a minute.
const LARGE: &str = "LOKO_E2E_LARGE_LAYER";

/// Longer than a minute, which is when proxies and servers like to lose their patience. Meanwhile a `create` is at work.
pub(super) fn slow(suite: &Suite, it: &Environment) {
    it.up();
    let (megabytes, rate) = if std::env::var(LARGE).as_deref() == Ok("1") {
        (2000, "10M")
    } else {
        println!("skipped: a layer of 2 GB at 10 MB/s: {LARGE}=1 is not set; 13 MB at 0.2 MB/s instead");
        (13, "200k")
    };
    let file = it.place.home.join("slow");
    random(&file, megabytes);
    let upload = Upload::begin(it, "slow", &file);
    let put = std::thread::scope(|scope| {
        let put = scope.spawn(|| upload.put(rate).ok());
        authority_is_put_back(suite, it);
        put.join().unwrap()
    });
    assert!(put.elapsed > Duration::from_secs(61), "it was not slow: {put}");
    println!("{megabytes} MB at {rate} took {:.0} s", put.elapsed.as_secs_f64());
    assert!(upload.is_there());
    fs_err::remove_file(&file).unwrap();
}

fn authority_is_put_back(suite: &Suite, it: &Environment) {
    let there = || {
        Run::new("docker")
            .args(["exec", &it.node(), "cat", AUTHORITY])
            .ok()
            .stdout
    };
    let before = there();
    assert!(before.contains("BEGIN CERTIFICATE"));
    Run::new("docker")
        .args(["exec", &it.node(), "sh", "-c", &format!("echo another >{AUTHORITY}")])
        .ok();
    it.loko("create").ok();
    assert_eq!(there(), before);
    suite.settled(it);
}

/// A blob that is on its way into a repository, by the steps of the specification.
pub(super) struct Upload<'a> {
    it: &'a Environment,
    file: &'a Path,
    /// Where it is put.
    location: String,
    /// Where it is when it has arrived.
    blob: String,
}

impl<'a> Upload<'a> {
    #[track_caller]
    pub(super) fn begin(it: &'a Environment, repository: &str, file: &'a Path) -> Self {
        let registry = format!("https://{}", host(it));
        let begun = curl(it, "--include --fail --request POST")
            .args([format!("{registry}/v2/{repository}/blobs/uploads/")])
            .ok();
        let location = begun.stdout.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
        });
        let mut location = location.unwrap();
        if location.starts_with('/') {
            location = registry.clone() + &location;
        }
        let sum = Run::new("sha256sum").args([file]).ok();
        let digest = format!("sha256:{}", sum.text().split_whitespace().next().unwrap());
        let separator = if location.contains('?') { '&' } else { '?' };
        Self {
            it,
            file,
            location: format!("{location}{separator}digest={digest}"),
            blob: format!("{registry}/v2/{repository}/blobs/{digest}"),
        }
    }

    /// Sends it at a rate, as curl writes rates.
    pub(super) fn put(&self, rate: &str) -> Run {
        curl(
            self.it,
            "--fail --request PUT --header content-type:application/octet-stream --limit-rate",
        )
        .args([rate, "--upload-file"])
        .args([self.file])
        .args([&self.location])
        .limit(Duration::from_mins(15))
    }

    #[track_caller]
    pub(super) fn is_there(&self) -> bool {
        let head = curl(self.it, "--head --output /dev/null --write-out %{http_code}")
            .args([&self.blob])
            .ok();
        head.text() == "200"
    }
}

fn curl(it: &Environment, words: &str) -> Run {
    Run::new("curl")
        .words("--silent --show-error --noproxy * --cacert")
        .args([it.place.authority()])
        .args(["--resolve", &format!("{}:443:{}", host(it), it.address)])
        .words(words)
}
