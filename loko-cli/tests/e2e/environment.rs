//! An environment of the suite: its loko.yaml, and what speaks to it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::Value;

use crate::run::{Output, Run};
use crate::watch::{self, CommandLines};

/// Where a user's things are: of the suite, not of whoever runs it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) home: PathBuf,
}

impl Place {
    pub(crate) fn loko_home(&self) -> PathBuf {
        self.home.join(".loko")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.home.join("kubeconfig")
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.loko_home().join("ca/ca.crt")
    }

    /// A program that finds the user's things here.
    pub(crate) fn run(&self, program: impl AsRef<std::ffi::OsStr>) -> Run {
        Run::new(program)
            .env("HOME", &self.home)
            .env("LOKO_HOME", self.loko_home())
            .env("KUBECONFIG", self.kubeconfig())
    }

    pub(crate) fn loko(&self) -> Run {
        // Another one than the one that was just built: a release, or what a package installed.
        let other = std::env::var_os("LOKO_E2E_BIN");
        self.run(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_loko").into()))
    }
}

/// What the first create of an environment said and did.
#[derive(Debug)]
pub(crate) struct Created {
    /// What it printed.
    pub(crate) report: Value,
    /// Its progress, one object a line.
    pub(crate) events: Vec<Value>,
    /// When it ended.
    pub(crate) at: Instant,
    /// Every command line that was seen on this host meanwhile.
    pub(crate) command_lines: CommandLines,
}

/// One loko.yaml.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) domain: String,
    pub(crate) address: String,
    pub(crate) file: PathBuf,
    /// As it was first; tests that edit it put it back.
    pub(crate) yaml: String,
    created: OnceLock<Result<Created, String>>,
}

impl Environment {
    /// Writes a loko.yaml whose name, domain and address are these.
    pub(crate) fn new(place: &Place, name: &str, domain: &str, address: &str, yaml: String) -> Self {
        let directory = place.home.join(name);
        fs_err::create_dir_all(&directory).unwrap();
        let file = directory.join("loko.yaml");
        fs_err::write(&file, &yaml).unwrap();
        Self {
            place: place.clone(),
            name: name.to_owned(),
            domain: domain.to_owned(),
            address: address.to_owned(),
            file,
            yaml,
            created: OnceLock::new(),
        }
    }

    /// `loko -c <its file>`
    pub(crate) fn loko(&self, words: &str) -> Run {
        self.place.loko().args(["-c"]).args([&self.file]).words(words)
    }

    /// `kubectl` in its context.
    pub(crate) fn kubectl(&self, words: &str) -> Run {
        self.place
            .run("kubectl")
            .args(["--context", &self.context()])
            .words(words)
    }

    /// `kubectl apply` of one object.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &Value) {
        self.kubectl("apply --filename -").stdin(manifest.to_string()).ok();
    }

    pub(crate) fn cluster(&self) -> String {
        format!("loko-{}", self.name)
    }

    pub(crate) fn context(&self) -> String {
        format!("kind-{}", self.cluster())
    }

    pub(crate) fn node(&self) -> String {
        format!("{}-control-plane", self.cluster())
    }

    /// `<label>.<its domain>`
    pub(crate) fn host(&self, label: &str) -> String {
        format!("{label}.{}", self.domain)
    }

    /// Its directory in LoKO's home.
    pub(crate) fn state(&self) -> PathBuf {
        self.place.loko_home().join("environments").join(&self.name)
    }

    /// Brings it up the first time it is asked for. A create that failed fails every test that needs it.
    #[track_caller]
    pub(crate) fn up(&self) -> &Created {
        match self.created.get_or_init(|| self.create()) {
            Ok(created) => created,
            Err(error) => panic!("{} could not be created: {error}", self.name),
        }
    }

    /// Whether a test has brought it up, or has tried to.
    pub(crate) fn was_asked_for(&self) -> bool {
        self.created.get().is_some()
    }

    fn create(&self) -> Result<Created, String> {
        let watching = watch::command_lines();
        let output = self.loko("create -o json").any();
        let command_lines = watching.end();
        if output.code != Some(0) {
            return Err(output.to_string());
        }
        Ok(Created {
            report: output.json(),
            events: events(&output),
            at: Instant::now(),
            command_lines,
        })
    }

    /// Replaces its loko.yaml.
    pub(crate) fn write(&self, yaml: &str) {
        fs_err::write(&self.file, yaml).unwrap();
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.loko("status -o json").any().json()
    }

    /// Its dnsmasq, as the status names it.
    #[track_caller]
    pub(crate) fn dns(&self) -> (String, String) {
        let status = self.status();
        let url = item(&status, "components", "dnsmasq")["addresses"][0]
            .as_str()
            .unwrap_or_default();
        match url.trim_start_matches("dns://").rsplit_once(':') {
            Some((address, port)) => (address.to_owned(), port.to_owned()),
            None => panic!("no address of dnsmasq in {status:#}"),
        }
    }

    /// `dig @<its dnsmasq> <words>`
    #[track_caller]
    pub(crate) fn dig(&self, words: &str) -> Output {
        let (address, port) = self.dns();
        Run::new("dig")
            .args([format!("@{address}"), "-p".to_owned(), port])
            .words("+time=2 +tries=2")
            .words(words)
            .ok()
    }

    /// The address that its dnsmasq gives a name.
    #[track_caller]
    pub(crate) fn resolve(&self, host: &str) -> String {
        let answer = self.dig(&format!("+short {host} A"));
        assert!(answer.text().parse::<std::net::Ipv4Addr>().is_ok(), "{answer}");
        answer.text().to_owned()
    }

    /// `curl` that finds a name as dnsmasq says, and trusts our authority alone.
    #[track_caller]
    pub(crate) fn curl(&self, host: &str) -> Run {
        let address = self.resolve(host);
        // --cacert adds to nothing: curl then trusts no other authority.
        curl(&self.place.authority()).args([
            "--resolve",
            &format!("{host}:443:{address}"),
            "--resolve",
            &format!("{host}:80:{address}"),
        ])
    }

    /// The body of `https://<host><path>`, whose certificate was checked.
    #[track_caller]
    pub(crate) fn get(&self, host: &str, path: &str) -> Output {
        self.curl(host).args(["--fail", &format!("https://{host}{path}")]).ok()
    }

    /// Asserts that it does all that the quickstart should.
    #[track_caller]
    pub(crate) fn answers(&self) {
        self.get(&self.host("whoami"), "/headers");
    }
}

fn curl(authority: &Path) -> Run {
    Run::new("curl")
        .words("--silent --show-error --max-time 20 --noproxy * --cacert")
        .args([authority])
}

/// Objects of a progress that is written as one JSON object a line.
pub(crate) fn events(output: &Output) -> Vec<Value> {
    output
        .stderr
        .lines()
        .map(|line| match serde_json::from_str(line) {
            Ok(event) => event,
            Err(error) => panic!("`{line}` is no JSON: {error}"),
        })
        .collect()
}

/// One line of a status.
#[track_caller]
pub(crate) fn item<'a>(status: &'a Value, kind: &str, name: &str) -> &'a Value {
    let items = status[kind].as_array();
    match items.and_then(|items| items.iter().find(|item| item["name"] == name)) {
        Some(item) => item,
        None => panic!("no {name} among {kind} of {status:#}"),
    }
}
