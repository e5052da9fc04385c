//! `loko validate`: does a running environment do all that it is for?

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use loko_cluster::driver::KubeApi;
use loko_cluster::{ClusterError, Manifest, ObjectKey};
use loko_dns::probe::{Exchange, Kind, Limits, Question, Step, ask};
use loko_engine::driver::ExecSpec;
use loko_engine::error::root_cause;
use loko_registry::RegistrySpec;
use loko_registry::driver::{Client, ClientOptions};
use loko_registry::oci::{Digest, Reference, Repository};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::find;
use crate::selftest::{self, Check, HEALTH, NAME, Verdict};
use crate::up::{self, Options};
use crate::{output, state};

/// Limit for one question from this host.
const QUESTION: Duration = Duration::from_secs(20);
/// Limit for the pod that asks: its image may have to be pulled.
const POD: Duration = Duration::from_mins(2);
/// Limit until metrics-server has figures: it reads them every 15 s, and needs two readings.
const METRICS: Duration = Duration::from_secs(90);

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    environment: String,
    works: bool,
    checks: Vec<Check>,
}

/// Deploys a small application as one more workload, asks it in every way that there is, and takes it away again. What is
/// tested is the environment as it was last applied, whatever was edited since.
pub(crate) async fn run(context: &Context) -> Result<(), CliError> {
    let (_, loaded) = context.load()?;
    let name = loaded.environment.name.to_string();
    let down = |summary: String| CliError::Down { summary };
    let applied = context.home.applied(&name);
    let Some(text) = state::read(&applied)? else {
        return Err(down(format!(
            "{name} was never created, or was destroyed: there is nothing to test"
        )));
    };
    let source = find::Source {
        path: applied,
        bytes: text.into_bytes(),
    };
    let environment = find::load(&source, &context.home, false)?.environment;
    let platform = context.platform_of(source.clone(), environment).await?;
    let _lock = context.home.lock_environment(&name, |holder| {
        context.progress.say(&format!("{name} waits for {holder}"));
    })?;
    let observed = up::observe(&platform).await?;
    let first = loko_cluster::nodes::names(&platform.environment)
        .next()
        .map(|(name, ..)| name)
        .unwrap_or_default();
    if !observed
        .containers
        .iter()
        .any(|container| container.name == first && container.is_running())
    {
        return Err(down(format!(
            "{name} does not run: `loko start` starts it, `loko create` makes it"
        )));
    }
    let held = platform.cluster.images_in(&first).await?;
    let image = held.into_iter().find(|name| name.contains("/coredns/coredns:"));
    let image = image.unwrap_or_else(|| up::COREDNS_IMAGE.to_owned());
    let none = || CliError::Ports {
        conflicts: vec![format!("{} has no free port", platform.address)],
    };
    let port = free_port(&platform).ok_or_else(none)?;
    let with = selftest::with_application(&platform.environment, &image, port)?;
    let with = context.platform_of(source, with).await?;

    let settings = Options {
        no_kubeconfig: true,
        no_resolver: true,
    };
    context.progress.say(&format!("{name}: the application comes up"));
    let tested = match up::up(context, &with, &up::observe(&with).await?, settings).await {
        Ok(_) => Box::pin(checks(context, &with, port)).await,
        Err(error) => Err(error),
    };
    context.progress.say(&format!("{name}: the application is taken away"));
    let cleaned = match up::observe(&platform).await {
        Ok(observed) => up::up(context, &platform, &observed, settings).await,
        Err(error) => Err(error),
    };
    let checks = tested?;
    cleaned?;
    let report = Report {
        works: checks.iter().all(|check| check.verdict != Verdict::Failed),
        environment: name,
        checks,
    };
    output::formatted(context.global.output, &report, || {
        selftest::text(&report.environment, &report.checks)
    });
    selftest::verdict(&report.environment, &report.checks)
}

/// A port that nothing has on the environment's address, TCP or UDP.
fn free_port(platform: &Platform) -> Option<NonZeroU16> {
    // An address that is not this host's is bound elsewhere; any port is as good as another there.
    let any = SocketAddr::new(platform.address, 0);
    (0..32).find_map(|_| {
        let tcp = TcpListener::bind(any)
            .or_else(|_| TcpListener::bind("127.0.0.1:0"))
            .ok()?;
        let address = tcp.local_addr().ok()?;
        UdpSocket::bind(address).ok()?;
        NonZeroU16::new(address.port())
    })
}

/// What the checks look at.
struct Test<'a> {
    platform: &'a Platform,
    api: KubeApi,
    authority: String,
    host: String,
    url: String,
    door: SocketAddr,
}

async fn checks(context: &Context, platform: &Platform, port: NonZeroU16) -> Result<Vec<Check>, CliError> {
    let environment = &platform.environment;
    let kubeconfig = state::read(&context.home.kubeconfig(environment.name.as_str()))?.unwrap_or_default();
    let (authority, _) = context.home.authority();
    let host = format!("{NAME}.{}", environment.network.domain);
    let suffix = match environment.network.lb_ports.https.get() {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let test = Test {
        platform,
        api: KubeApi::new(&kubeconfig).await?,
        authority: state::read(&authority)?.unwrap_or_default(),
        url: format!("https://{host}{suffix}{HEALTH}"),
        host,
        door: SocketAddr::new(platform.address, port.get()),
    };
    let (dns, resolver, https, tcp, udp, metrics, (push, pod)) = futures_util::join!(
        timed("dns", test.dns()),
        timed("host-resolver", test.resolver()),
        timed("https", test.https()),
        timed("tcp", test.tcp()),
        timed("udp", test.udp()),
        timed("metrics", test.metrics()),
        async {
            let (push, image) = test.push().await;
            let pod = timed("pod", test.pod(image)).await;
            test.clean().await;
            (push, pod)
        },
    );
    let mut all = vec![dns, resolver, https, tcp, udp, push];
    all.extend([pod, metrics]);
    Ok(all)
}

/// What a check found, or why it does not work; `Err(Ok(_))`: it does not count.
type Found = Result<String, Result<String, String>>;

fn failed(error: impl std::fmt::Display) -> Result<String, String> {
    Err(error.to_string())
}

async fn timed(check: &'static str, work: impl Future<Output = Found>) -> Check {
    let started = Instant::now();
    let (verdict, found) = match work.await {
        Ok(found) => (Verdict::Ok, found),
        Err(Ok(why)) => (Verdict::Skipped, why),
        Err(Err(why)) => (Verdict::Failed, why),
    };
    Check {
        name: check,
        verdict,
        found,
        seconds: started.elapsed().as_secs_f64(),
    }
}

impl Test<'_> {
    /// dnsmasq itself.
    async fn dns(&self) -> Found {
        let name = &self.platform.environment.name;
        let facts = loko_dns::driver::facts(&self.platform.engine, name)
            .await
            .map_err(failed)?;
        let port = facts.container.as_ref().and_then(loko_dns::container::kept_port);
        let port = port.ok_or_else(|| failed("there is no dnsmasq"))?;
        let server = SocketAddr::new(self.platform.address, port.get());
        let wanted = self.platform.address;
        let answer = ask(server, &self.host, Kind::of(wanted), Limits::default())
            .await
            .map_err(failed)?;
        if answer.addresses.contains(&wanted) {
            Ok(format!("{server} says {wanted} for {}", self.host))
        } else {
            Err(failed(format!(
                "{server} says {:?} for {}, not {wanted}",
                answer.addresses, self.host
            )))
        }
    }

    /// The host's own resolver. That it is told of the domain needs root, and may not be wanted.
    async fn resolver(&self) -> Found {
        match loko_dns::resolver::host::look_up(&self.host).await {
            Ok(found) if found.contains(&self.platform.address) => Ok(format!("this host finds {}", self.host)),
            _ => Err(Ok(format!(
                "this host does not find {}; `loko dns status` says why",
                self.host
            ))),
        }
    }

    async fn https(&self) -> Found {
        let root = reqwest::Certificate::from_pem(self.authority.as_bytes()).map_err(failed)?;
        let port = self.platform.environment.network.lb_ports.https.get();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([root])
            .resolve(&self.host, SocketAddr::new(self.platform.address, port))
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(failed)?;
        eventually(QUESTION, || async {
            let response = client.get(&self.url).send().await.map_err(|error| root_cause(&error))?;
            let status = response.status();
            let body = response.text().await.map_err(|error| root_cause(&error))?;
            if status.is_success() && body.trim() == "OK" {
                Ok(format!("{} answers {status}", self.url))
            } else {
                Err(format!("{} answers {status}", self.url))
            }
        })
        .await
    }

    async fn udp(&self) -> Found {
        let limits = Limits {
            timeout: Duration::from_secs(2),
            ..Limits::default()
        };
        eventually(QUESTION, || async {
            let answer = ask(self.door, &self.host, Kind::A, limits)
                .await
                .map_err(|error| error.to_string())?;
            Ok(format!("{} answers over UDP: {}", self.door, answer.code))
        })
        .await
    }

    async fn tcp(&self) -> Found {
        let question = Question {
            id: 0x10C0,
            name: self.host.clone(),
            kind: Kind::A,
        };
        let (_, Step::Udp(message)) = Exchange::start(question, Limits::default()).map_err(failed)? else {
            return Err(failed("the question cannot be written"));
        };
        eventually(QUESTION, || async {
            let exchange = over_tcp(self.door, &message);
            match tokio::time::timeout(Duration::from_secs(5), exchange).await {
                Ok(Ok(answer)) if answer.get(..2) == message.get(..2) => Ok(format!("{} answers over TCP", self.door)),
                Ok(Ok(_)) => Err(format!("{} answers something else", self.door)),
                Ok(Err(error)) => Err(format!("{}: {error}", self.door)),
                Err(_) => Err(format!("{} does not answer", self.door)),
            }
        })
        .await
    }

    async fn metrics(&self) -> Found {
        if !self.platform.environment.components.metrics_server.enabled {
            return Err(Ok("switched off in loko.yaml".to_owned()));
        }
        eventually(METRICS, || async {
            let text = self
                .api
                .text("/apis/metrics.k8s.io/v1beta1/nodes")
                .await
                .map_err(|error| error.to_string())?;
            let list: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            match list["items"].as_array().map_or(0, Vec::len) {
                0 => Err("the metrics API has no figures".to_owned()),
                count => Ok(format!("figures of {count} nodes")),
            }
        })
        .await
    }

    /// Pushes a new image. Gives its name, where there is a registry and it took it.
    async fn push(&self) -> (Check, Option<String>) {
        let mut name = None;
        let check = timed("registry-push", async {
            let pushed = self.pushed().await?;
            let found = format!("pushed {pushed}");
            name = Some(pushed);
            Ok(found)
        })
        .await;
        (check, name)
    }

    async fn pushed(&self) -> Result<String, Result<String, String>> {
        let (spec, client) = self.registry()?;
        let (repository, tag) = (repository()?, Timestamp::now().as_millisecond().to_string());
        let reference: Reference = tag.parse().map_err(failed)?;
        let image = selftest::image(selftest::architecture(&self.platform.engine.facts().architecture), &tag);
        for blob in [image.layer, image.config] {
            client
                .put_blob(&repository, &Digest::of(&blob), blob)
                .await
                .map_err(failed)?;
        }
        let manifest = client.put_manifest(&repository, &reference, selftest::MANIFEST_TYPE, image.manifest);
        manifest.await.map_err(failed)?;
        Ok(format!("{}/{repository}:{tag}", spec.reference_host()))
    }

    fn registry(&self) -> Result<(RegistrySpec, Client), Result<String, String>> {
        let spec = RegistrySpec::of(&self.platform.environment).map_err(failed)?;
        let spec = spec.ok_or_else(|| Ok("switched off in loko.yaml".to_owned()))?;
        let address = SocketAddr::new(self.platform.address, 0);
        let client = Client::new(ClientOptions {
            registry: format!("https://{}", spec.reference_host()),
            authority: Some(self.authority.clone()),
            addresses: [(spec.host.clone(), address)].into(),
            credentials: None,
            patience: QUESTION,
        });
        Ok((spec, client.map_err(failed)?))
    }

    /// A pod of the pushed image, which the node must pull, asks the application by name.
    async fn pod(&self, pushed: Option<String>) -> Found {
        let environment = &self.platform.environment;
        let pulled = pushed.is_some();
        let image = pushed.unwrap_or_else(|| environment.components.ingress_controller.reference());
        let namespace = environment.workloads.namespace.as_str();
        let job = selftest::client(namespace, &image, &self.url);
        let job = Manifest::new(job).map_err(failed)?;
        let key = job.key();
        self.api.delete(&key).await.map_err(failed)?;
        self.api.apply(&job).await.map_err(failed)?;
        match self.api.wait_ready(&key, POD, |_| {}).await {
            Ok(()) if pulled => Ok(format!("a pod of {image}, pulled by its node, reads {}", self.url)),
            Ok(()) => Ok(format!("a pod reads {}", self.url)),
            Err(ClusterError::NotReady { reason, evidence, .. }) => Err(failed(format!("{reason}\n{evidence}"))),
            Err(error) => Err(failed(error)),
        }
    }

    /// Takes away what is no part of the environment: the job, the pushed image, what nodes pulled of it.
    async fn clean(&self) {
        let namespace = self.platform.environment.workloads.namespace.to_string();
        let job = ObjectKey {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            namespace: Some(namespace),
            name: NAME.to_owned(),
        };
        // What cannot be taken away is a few hundred bytes, and the verdict is about something else.
        let _ = self.api.delete(&job).await;
        if let (Ok((_, client)), Ok(repository)) = (self.registry(), repository()) {
            let _ = client.purge(&repository).await;
        }
        let script = format!("ctr -n k8s.io images ls -q | grep '/{NAME}[:@]' | xargs -r ctr -n k8s.io images rm");
        let nodes = loko_cluster::nodes::names(&self.platform.environment);
        for (node, ..) in nodes {
            let _ = self
                .platform
                .engine
                .exec(&node, &ExecSpec::new(["sh", "-c", script.as_str()]))
                .await;
        }
    }
}

fn repository() -> Result<Repository, Result<String, String>> {
    NAME.parse().map_err(failed)
}

/// A DNS message over TCP: its length in two bytes before it (RFC 1035 §4.2.2).
async fn over_tcp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = tokio::net::TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Asks again until the limit: a route is served a moment after it was applied.
async fn eventually<F: Future<Output = Result<String, String>>>(
    limit: Duration,
    mut attempt: impl FnMut() -> F,
) -> Found {
    let started = Instant::now();
    loop {
        match attempt().await {
            Ok(found) => return Ok(found),
            Err(why) if started.elapsed() > limit => return Err(Err(why)),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
