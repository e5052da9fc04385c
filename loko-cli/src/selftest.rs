//! The self-test of a running environment, as data: the small application, its client in the cluster, the image that is pushed
//! and pulled, and what the checks come to.
//!
//! The application is CoreDNS, which every node has: it answers HTTP (`health`), and DNS over TCP and UDP (`whoami`). It is one
//! more workload for as long as the test runs, so every step that serves a user's workload serves it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroU16;

use loko_cluster::components::namespaces::{CA_CONFIG_MAP, CA_KEY};
use loko_cluster::scheduling::RUNS_WORKLOADS;
use loko_config::Environment;
use loko_config::model::{Http, ImageSource, Protocol, Source, Workload, WorkloadPort};
use loko_config::names::{ImageRef, WorkloadName};
use loko_registry::oci::Digest;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::CliError;

/// The application, its host, the client and the pushed repository.
pub(crate) const NAME: &str = "loko-selftest";
/// Where the application answers HTTP.
pub(crate) const HEALTH: &str = "/health";

const HTTP_PORT: NonZeroU16 = NonZeroU16::new(8080).expect("not zero");
const DNS_PORT: NonZeroU16 = NonZeroU16::new(5353).expect("not zero");

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It works.
    Ok,
    /// It is switched off in loko.yaml, or does not count.
    Skipped,
    /// It does not work.
    Failed,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Check {
    /// `dns`, `https`, `tcp`, …
    #[serde(rename = "check")]
    pub(crate) name: &'static str,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) found: String,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
}

/// The environment with the application as one more workload, `port` of the host for both protocols.
pub(crate) fn with_application(
    environment: &Environment,
    image: &str,
    port: NonZeroU16,
) -> Result<Environment, CliError> {
    let refused = |error: loko_config::names::InvalidName| CliError::Usage {
        message: format!("the application of the self-test cannot be: {error}"),
        help: "this is a defect of loko; please report it".to_owned(),
    };
    let name: WorkloadName = NAME.parse().map_err(refused)?;
    let image: ImageRef = image.parse().map_err(refused)?;
    let corefile = format!(".:{DNS_PORT} {{\n  whoami\n  health :{HTTP_PORT}\n}}\n");
    let ports = [Protocol::Tcp, Protocol::Udp].map(|protocol| WorkloadPort {
        port: DNS_PORT,
        host_port: port,
        protocol,
        sni: false,
    });
    let file = "/etc/selftest/Corefile";
    let source = ImageSource {
        image,
        command: Vec::new(),
        args: vec!["-conf".to_owned(), file.to_owned()],
        env: BTreeMap::new(),
        replicas: 1,
        storage_path: "/data".to_owned(),
        env_value_from: Vec::new(),
        files: BTreeMap::from([(file.to_owned(), corefile)]),
        container: serde_json::Map::new(),
        pod: serde_json::Map::new(),
        sidecars: Vec::new(),
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
    };
    let mut with = environment.clone();
    with.workloads.list.push(Workload {
        name,
        enabled: true,
        source: Source::Image(Box::new(source)),
        http: Some(Http {
            port: HTTP_PORT,
            hosts: vec![
                format!("{NAME}.{}", environment.network.domain)
                    .parse()
                    .map_err(refused)?,
            ],
            service: None,
            annotations: BTreeMap::new(),
        }),
        ports: ports.to_vec(),
        storage: None,
        depends_on: BTreeSet::new(),
    });
    Ok(with)
}

/// A job that asks `url` from inside a pod. Its program is the node's own curl, mounted: whatever `image` is, and it may be
/// empty, nothing has to be pulled for it.
pub(crate) fn client(namespace: &str, image: &str, url: &str) -> Value {
    // The program, and where its loader looks for libraries on x86-64 and on ARM.
    let host_paths = [
        ("usr", "/usr", "/usr"),
        ("lib", "/usr/lib", "/lib"),
        ("lib64", "/usr/lib64", "/lib64"),
    ];
    let mut volumes: Vec<Value> = host_paths
        .iter()
        .map(|(name, path, _)| json!({"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}))
        .collect();
    volumes.push(json!({"name": "authority", "configMap": {"name": CA_CONFIG_MAP}}));
    let mut mounts: Vec<Value> = host_paths
        .iter()
        .map(|(name, _, target)| json!({"name": name, "mountPath": target, "readOnly": true}))
        .collect();
    mounts.push(json!({"name": "authority", "mountPath": "/authority", "readOnly": true}));
    let command = [
        "/usr/bin/curl",
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "10",
        "--retry",
        "5",
        "--retry-all-errors",
        "--cacert",
        &format!("/authority/{CA_KEY}"),
        url,
    ];
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "backoffLimit": 2,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "nodeSelector": {RUNS_WORKLOADS: "true"},
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "client", "image": image, "imagePullPolicy": "IfNotPresent",
                        "command": command, "volumeMounts": mounts,
                    }],
                    "volumes": volumes,
                },
            },
        },
    })
}

/// An image of one layer, never the same twice.
#[derive(Debug, Clone)]
pub(crate) struct Pushed {
    /// The layer: a tar archive with one file.
    pub(crate) layer: Vec<u8>,
    /// The image's configuration.
    pub(crate) config: Vec<u8>,
    /// The image's manifest.
    pub(crate) manifest: Vec<u8>,
}

/// The manifest's type (OCI image specification, "Media Types").
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The image, for an architecture as Go names it. `nonce` makes it new, so that it is really pushed, and really pulled.
pub(crate) fn image(architecture: &str, nonce: &str) -> Pushed {
    let layer = archive(NAME, nonce.as_bytes());
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
    });
    let config = config.to_string().into_bytes();
    let part = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": part("application/vnd.oci.image.config.v1+json", &config),
        "layers": [part("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    Pushed {
        layer,
        config,
        manifest: manifest.to_string().into_bytes(),
    }
}

/// A tar archive (POSIX.1-1988, ustar) with one small file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut all = header.to_vec();
    all.extend_from_slice(content);
    all.resize(all.len().next_multiple_of(512) + 1024, 0);
    all
}

/// What the engine's word for its architecture is in images.
pub(crate) fn architecture(of_engine: &str) -> &str {
    match of_engine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The failure, if there is one: of DNS where that alone is it.
pub(crate) fn verdict(environment: &str, checks: &[Check]) -> Result<(), CliError> {
    let failed: Vec<&Check> = checks.iter().filter(|check| check.verdict == Verdict::Failed).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = failed.iter().map(|check| check.name).collect();
    let summary = format!("{environment} failed its self-test: {}", names.join(", "));
    if failed.iter().all(|check| check.name == "dns") {
        Err(CliError::DnsDown { summary })
    } else {
        Err(CliError::Down { summary })
    }
}

/// The checks for people.
pub(crate) fn text(environment: &str, checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for check in checks {
        let mark = match check.verdict {
            Verdict::Ok => '✓',
            Verdict::Skipped => '-',
            Verdict::Failed => '✗',
        };
        let _ = writeln!(
            text,
            "{mark} {:width$}  {} ({:.1} s)",
            check.name, check.found, check.seconds
        );
    }
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let _ = match count(Verdict::Failed) {
        0 => write!(text, "\n{environment} works: {} checks", count(Verdict::Ok)),
        failed => write!(
            text,
            "\n{environment} does not work: {failed} of {} checks failed",
            checks.len()
        ),
    };
    text
}

#[cfg(test)]
mod tests {
    use loko_cluster::workloads::{self, WorkloadContext};

    use super::*;

    fn environment() -> Environment {
        let yaml = "name: dev\nnetwork: {domain: dev.loko.test}\n";
        loko_config::load(yaml, &loko_config::LoadOptions::default())
            .unwrap()
            .environment
    }

    #[test]
    fn the_application_is_a_workload_like_any_other() {
        let port = NonZeroU16::new(30_500).unwrap();
        let with = with_application(&environment(), "registry.k8s.io/coredns/coredns:v1.14.2", port).unwrap();
        assert_eq!(with.workloads.list.len(), 1);
        let slots = loko_config::slots::assign(&BTreeMap::new(), &loko_config::slots::wanted(&with)).unwrap();
        let rendered = workloads::manifests(&with, WorkloadContext { slots: &slots }).unwrap();
        let mut keys = Vec::new();
        for manifest in rendered.into_values().flatten() {
            if manifest.key().kind == "ConfigMap" {
                let corefile = manifest.value()["data"]["0-Corefile"].as_str().unwrap_or_default();
                assert_eq!(corefile, ".:5353 {\n  whoami\n  health :8080\n}\n");
            }
            keys.push(manifest.key().kind);
        }
        keys.sort();
        let expected = [
            "ConfigMap",
            "Deployment",
            "Ingress",
            "IngressRouteTCP",
            "IngressRouteUDP",
            "Service",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn the_client_is_a_job_that_brings_nothing_but_a_command() {
        let client = client(
            "loko-workloads",
            "cr.dev.loko.test/loko-selftest:1",
            "https://loko-selftest.dev.loko.test/health",
        );
        insta::assert_snapshot!("client", loko_config::to_yaml(&client));
    }

    #[test]
    fn the_image_is_new_each_time_and_names_its_parts_by_what_they_are() {
        let (one, other) = (image("amd64", "1"), image("amd64", "2"));
        assert_ne!(one.layer, other.layer);
        let manifest: Value = serde_json::from_slice(&one.manifest).unwrap();
        assert_eq!(
            manifest["layers"][0]["digest"],
            Digest::of(&one.layer).to_string().as_str()
        );
        assert_eq!(manifest["layers"][0]["size"], one.layer.len());
        assert_eq!(
            manifest["config"]["digest"],
            Digest::of(&one.config).to_string().as_str()
        );
        let config: Value = serde_json::from_slice(&one.config).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(one.layer.len() % 512, 0);
        assert_eq!(&one.layer[257..262], b"ustar");
    }

    #[test]
    fn the_exit_code_tells_dns_from_the_rest() {
        let check = |name, verdict| Check {
            name,
            verdict,
            found: "it".to_owned(),
            seconds: 0.0,
        };
        let dns = check("dns", Verdict::Failed);
        let tcp = check("tcp", Verdict::Failed);
        assert!(verdict("dev", &[check("tcp", Verdict::Ok), check("metrics", Verdict::Skipped)]).is_ok());
        assert_eq!(
            verdict("dev", std::slice::from_ref(&dns)).unwrap_err().exit_code(),
            crate::exit::DNS
        );
        let all = [dns, tcp, check("udp", Verdict::Ok)];
        assert_eq!(verdict("dev", &all).unwrap_err().exit_code(), crate::exit::CLUSTER);
        assert!(text("dev", &all).ends_with("dev does not work: 2 of 3 checks failed"));
    }
}
