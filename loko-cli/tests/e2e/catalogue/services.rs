//! The services, and their clients. Where there is none that Debian has, the bytes of the protocol.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::environment::Environment;
use crate::run::{Run, eventually};

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    OnTheHost,
    InAPod,
}

/// Programs of one who speaks to services.
pub(super) struct Client<'s> {
    pub(super) shelf: &'s Environment,
    pub(super) stands: Stands,
}

/// One entry of the catalogue.
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) image: &'static str,
    pub(super) ports: &'static [u16],
    /// Whether what it was told outlives it.
    pub(super) keeps: bool,
    /// Tells it something.
    pub(super) write: fn(&Client<'_>),
    /// Asserts that it knows it.
    pub(super) holds: fn(&Client<'_>),
}

/// What is told, and must be given back.
const WORD: &str = "stays";

/// How many messages a broker's queue is given: more than all tests take.
const MESSAGES: usize = 16;

pub(super) const SERVICES: [Service; 9] = [
    Service {
        name: "postgres",
        image: "postgres",
        ports: &[5432],
        keeps: true,
        write: |client| {
            postgres(client, &format!("CREATE TABLE kept AS SELECT '{WORD}' AS word"));
        },
        holds: |client| assert_eq!(postgres(client, "SELECT word FROM kept"), WORD),
    },
    Service {
        name: "mariadb",
        image: "mariadb",
        ports: &[3306],
        keeps: true,
        write: |client| {
            mariadb(client, &format!("CREATE TABLE kept AS SELECT '{WORD}' AS word"));
        },
        holds: |client| assert_eq!(mariadb(client, "SELECT word FROM kept"), WORD),
    },
    Service {
        name: "valkey",
        image: "valkey/valkey",
        ports: &[6379],
        keeps: true,
        write: |client| assert_eq!(valkey(client, &format!("SET kept {WORD}")), "OK"),
        holds: |client| assert_eq!(valkey(client, "GET kept"), WORD),
    },
    Service {
        name: "memcached",
        image: "memcached",
        ports: &[11211],
        keeps: false,
        write: |client| {
            let text = format!("set kept 0 0 {}\r\n{WORD}\r\n", WORD.len());
            client.ask("memcached", 11211, &text, "STORED");
        },
        holds: |client| {
            let said = client.ask("memcached", 11211, "get kept\r\n", "END");
            assert!(said.contains(WORD), "{said}");
        },
    },
    Service {
        name: "rabbitmq",
        image: "rabbitmq",
        ports: &[5672],
        keeps: true,
        write: |client| {
            amqp(client, "amqp-declare-queue", "--durable --queue kept");
            for _ in 0..MESSAGES {
                amqp(
                    client,
                    "amqp-publish",
                    &format!("--routing-key kept --persistent --body {WORD}"),
                );
            }
        },
        // Who gets a message takes it. None is put back: this client asks for no confirmation, and without one RabbitMQ may
        // hold a new message in memory alone, which a worker that is lost takes with it. Those of the beginning are on disk
        // since the orderly stop.
        holds: |client| assert_eq!(amqp(client, "amqp-get", "--queue kept"), WORD),
    },
    Service {
        name: "nats",
        image: "nats",
        ports: &[4222],
        keeps: true,
        write: |client| {
            let stream = r#"{"name":"KEPT","subjects":["kept"],"storage":"file"}"#;
            nats(client, "$JS.API.STREAM.CREATE.KEPT", stream, "stream_create_response");
            nats(client, "kept", WORD, r#""seq":"#);
        },
        holds: |client| {
            // The message is in base64.
            nats(
                client,
                "$JS.API.STREAM.MSG.GET.KEPT",
                r#"{"last_by_subj":"kept"}"#,
                r#""data":"c3RheXM=""#,
            );
        },
    },
    Service {
        name: "mosquitto",
        image: "eclipse-mosquitto",
        ports: &[1883],
        keeps: true,
        write: |client| {
            mosquitto(
                client,
                "mosquitto_pub",
                &format!("--retain --qos 1 --topic kept --message {WORD}"),
            );
        },
        holds: |client| {
            assert_eq!(mosquitto(client, "mosquitto_sub", "--topic kept -C 1 -W 20"), WORD);
        },
    },
    Service {
        name: "prometheus",
        image: "prom/prometheus",
        ports: &[],
        keeps: true,
        write: |client| {
            let limit = Duration::from_secs(90);
            eventually(limit, "prometheus measures itself", || match first_sample(client) {
                Some(_) => Ok(()),
                None => Err("no sample yet".to_owned()),
            });
        },
        holds: |client| {
            let time = first_sample(client).unwrap();
            let then = prometheus(client, &format!("query=up&time={time}"));
            assert_eq!(then["data"]["result"][0]["value"][1], "1", "{then:#}");
        },
    },
    Service {
        name: "httpbin",
        image: "mccutchen/go-httpbin",
        ports: &[],
        keeps: true,
        write: |_| {},
        holds: |client| {
            let seen: Value = serde_json::from_str(&client.get("httpbin", "/headers")).unwrap();
            let host = client.shelf.host("httpbin");
            assert_eq!(seen["headers"]["Host"][0], host, "{seen:#}");
        },
    },
];

impl Client<'_> {
    /// A program where the client stands, whose environment has a variable more.
    fn run(&self, program: &str, (key, value): (&str, &str)) -> Run {
        match self.stands {
            Stands::OnTheHost => Run::new(program).env(key, value),
            Stands::InAPod => self
                .shelf
                .kubectl("exec --stdin --namespace loko-workloads deployments/client -- env")
                .args([&format!("{key}={value}"), program]),
        }
        .limit(Duration::from_mins(1))
    }

    /// How it calls a service: by its name, or where this host resolves no names, by the address that dnsmasq has for it.
    #[track_caller]
    fn host(&self, service: &str) -> String {
        let name = self.shelf.host(service);
        match self.stands {
            Stands::OnTheHost if !is_known_here(&name, &self.shelf.address) => self.shelf.resolve(&name),
            Stands::OnTheHost | Stands::InAPod => name,
        }
    }

    /// The URL that `loko workloads connect` gives, password and all.
    #[track_caller]
    fn url(&self, service: &str) -> String {
        let connect = self.shelf.loko(&format!("workloads connect {service}")).ok();
        connect.text().replace(&self.shelf.host(service), &self.host(service))
    }

    /// Says a text and reads lines until one holds what is waited for.
    #[track_caller]
    fn ask(&self, service: &str, port: u16, text: &str, until: &str) -> String {
        // bash, because it opens TCP connections by itself.
        let script = r#"exec 3<>"/dev/tcp/$1/$2" && cat >&3
while read -r -t 20 line <&3; do echo "$line"; case $line in *"$3"*) exit 0 ;; esac; done
exit 1"#;
        let asked = self
            .run("bash", ("LC_ALL", "C"))
            .args(["-c", script, "bash", &self.host(service), &port.to_string(), until])
            .stdin(text.to_owned());
        asked.ok().stdout
    }

    /// What it answers over HTTPS, its certificate checked.
    #[track_caller]
    fn get(&self, service: &str, path: &str) -> String {
        let host = self.shelf.host(service);
        match self.stands {
            Stands::OnTheHost => self.shelf.get(&host, path).stdout,
            Stands::InAPod => {
                self.run("curl", ("LC_ALL", "C"))
                    .words("--silent --show-error --fail --max-time 20 --cacert /loko/ca.crt")
                    .args([format!("https://{host}{path}")])
                    .ok()
                    .stdout
            }
        }
    }
}

/// Whether programs of this host find the name.
fn is_known_here(name: &str, address: &str) -> bool {
    let found = Run::new("getent").args(["ahostsv4", name]).any();
    found.code == Some(0) && found.stdout.starts_with(address)
}

/// The field `password` of a service's secrets.
#[track_caller]
fn password(client: &Client<'_>, service: &str) -> String {
    let shown = client
        .shelf
        .loko(&format!("secrets show {service} --reveal -o json"))
        .ok();
    shown.json()[service]["password"].as_str().unwrap().to_owned()
}

#[track_caller]
fn postgres(client: &Client<'_>, sql: &str) -> String {
    let url = client.url("postgres");
    let psql = client.run("psql", ("PGCONNECT_TIMEOUT", "20"));
    let said = psql
        .args(["--no-password", "-v", "ON_ERROR_STOP=1", "-qtAc", sql, &url])
        .ok();
    said.text().to_owned()
}

#[track_caller]
fn mariadb(client: &Client<'_>, sql: &str) -> String {
    let password = password(client, "mariadb");
    let mariadb = client.run("mariadb", ("MYSQL_PWD", &password));
    let said = mariadb
        .args(["--connect-timeout=20", "-h", &client.host("mariadb"), "-P", "3306"])
        .args(["-u", "root", "-N", "-B", "-e", sql, "app"])
        .ok();
    said.text().to_owned()
}

#[track_caller]
fn valkey(client: &Client<'_>, command: &str) -> String {
    let here = ["valkey-cli", "redis-cli"]
        .into_iter()
        .find(|program| crate::run::find(program).is_some());
    let program = match client.stands {
        Stands::OnTheHost => here.unwrap_or("valkey-cli"),
        Stands::InAPod => "valkey-cli",
    };
    let said = client
        .run(program, ("LC_ALL", "C"))
        .args(["-u", &client.url("valkey")])
        .words(command)
        .ok();
    said.text().to_owned()
}

#[track_caller]
fn amqp(client: &Client<'_>, program: &str, options: &str) -> String {
    let run = client.run(program, ("LC_ALL", "C"));
    let said = run.args(["--url", &client.url("rabbitmq")]).words(options).ok();
    said.text().to_owned()
}

#[track_caller]
fn mosquitto(client: &Client<'_>, program: &str, options: &str) -> String {
    let password = password(client, "mosquitto");
    let run = client.run(program, ("LC_ALL", "C"));
    let said = run
        .args([
            "-h",
            &client.host("mosquitto"),
            "-p",
            "1883",
            "-u",
            "mqtt",
            "-P",
            &password,
        ])
        .words(options)
        .ok();
    said.text().to_owned()
}

/// Publishes a message and waits for the answer to it.
#[track_caller]
fn nats(client: &Client<'_>, subject: &str, message: &str, until: &str) {
    let text = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{message}\r\n",
        message.len()
    );
    client.ask("nats", 4222, &text, until);
}

#[track_caller]
fn prometheus(client: &Client<'_>, query: &str) -> Value {
    let answer = client.get("prometheus", &format!("/api/v1/query?{query}"));
    serde_json::from_str(&answer).unwrap()
}

/// When it measured itself for the first time that somebody asked.
fn first_sample(client: &Client<'_>) -> Option<&'static str> {
    static TIME: OnceLock<String> = OnceLock::new();
    if TIME.get().is_none() {
        let answer = prometheus(client, "query=timestamp(up)");
        let time = answer["data"]["result"][0]["value"][1].as_str()?.to_owned();
        let _ = TIME.set(time);
    }
    TIME.get().map(String::as_str)
}
