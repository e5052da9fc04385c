//! The one place that talks to a registry.

mod bundle;
mod error;
mod load;
mod survey;
mod transfer;
mod versions;
mod warm;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

pub use bundle::{Added, Bundle, BundleFileError, BundleWriter};
pub use error::ClientError;
pub use load::{Loaded, Progress, load};
pub use versions::{Datasources, VersionsError};
pub use warm::{Warmed, warm};

use crate::oci::auth::{self, Answer, Authorization, Challenge};
use crate::oci::calls::{Catalog, Listed, Page, Tags};
use crate::oci::{Call, Method, ProtocolError, Repository, Request, Response, Scope};
use crate::spec::Credentials;

/// How many items of a list are asked for at once.
const PAGE: u32 = 1000;
/// Of a registry, no answer that is read into memory is larger: registries take manifests of 4 MiB (OCI distribution specification,
/// "Pushing Manifests").
const MAX_BODY: usize = 16 << 20;

/// How a registry is reached.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Scheme, host and port: `https://cr.dev.me:8443`.
    pub registry: String,
    /// PEM of the authority that signs its certificate; `None`: those that the system trusts.
    pub authority: Option<String>,
    /// Addresses of hosts that no resolver knows; the port of each is that of the registry where it is 0.
    pub addresses: BTreeMap<String, SocketAddr>,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// How long an answer may take, and each piece of a blob. A mirror answers when it has the image.
    pub patience: Duration,
}

/// A registry. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    registry: String,
    secure: bool,
    credentials: Option<Credentials>,
    patience: Duration,
    /// No answer that is read into memory is larger.
    limit: usize,
    /// What was granted, by what it was granted for.
    granted: Arc<Mutex<BTreeMap<Scope, Authorization>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares to talk to a registry of this machine; nothing is sent. What the environment says of proxies is not meant for
    /// it.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        Self::build(options, reqwest::ClientBuilder::no_proxy, MAX_BODY)
    }

    /// Prepares to talk to a server elsewhere: through the proxy that the environment names, unless it is on this machine after
    /// all, and with answers of up to `limit` bytes.
    pub(crate) fn elsewhere(options: ClientOptions, limit: usize) -> Result<Self, ClientError> {
        let host = options.registry.split_once("://").map_or("", |(_, rest)| rest);
        let here = crate::versions::is_here(host.split('/').next().unwrap_or(host));
        let proxies = |builder: reqwest::ClientBuilder| if here { builder.no_proxy() } else { builder };
        Self::build(options, proxies, limit)
    }

    fn build(
        options: ClientOptions,
        proxies: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
        limit: usize,
    ) -> Result<Self, ClientError> {
        let registry = options.registry.trim_end_matches('/').to_owned();
        let secure = registry.starts_with("https://");
        if !secure && !registry.starts_with("http://") {
            return Err(ClientError::Address { registry });
        }
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(options.authority.as_deref())?)
            .connect_timeout(Duration::from_secs(10))
            .tcp_keepalive(Duration::from_secs(15))
            .user_agent(concat!("loko/", env!("CARGO_PKG_VERSION")));
        for (host, address) in &options.addresses {
            builder = builder.resolve(host, *address);
        }
        let http = proxies(builder).build().map_err(|source| ClientError::Unreachable {
            registry: registry.clone(),
            source,
        })?;
        Ok(Self {
            http,
            registry,
            secure,
            credentials: options.credentials,
            patience: options.patience,
            limit,
            granted: Arc::default(),
        })
    }

    /// Asks, and answers the registry's question who asks, once.
    pub async fn call<C: Call>(&self, call: &C) -> Result<C::Output, ClientError> {
        let request = call.request();
        let scope = call.scope();
        let response = self.exchange(&request, &scope).await?;
        if response.status == 401 && self.authorize(&response, &scope).await? {
            return Ok(call.read(&self.exchange(&request, &scope).await?)?);
        }
        Ok(call.read(&response)?)
    }

    /// All repositories, in the registry's order. Names that no repository can have are left out.
    pub async fn repositories(&self) -> Result<Vec<Repository>, ClientError> {
        let names = self.list(|page| Catalog { page }).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// All tags of a repository, in the registry's order.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<String>, ClientError> {
        let call = |page| Tags {
            repository: repository.clone(),
            page,
        };
        self.list(call).await
    }

    async fn list<C: Call<Output = Listed>>(&self, call: impl Fn(Page) -> C) -> Result<Vec<String>, ClientError> {
        let mut items = Vec::new();
        let mut page = Some(Page::First(PAGE));
        while let Some(this) = page.take() {
            let listed = self.call(&call(this.clone())).await?;
            items.extend(listed.items);
            // A registry that leads back to where one came from would be followed for ever.
            page = listed.next.filter(|next| *next != this);
        }
        Ok(items)
    }

    async fn exchange(&self, request: &Request, scope: &Scope) -> Result<Response, ClientError> {
        match self.exchange_once(request, scope).await {
            // The registry was started anew, and the connection that was kept leads to the one before. What is repeated
            // changes nothing the second time; only that a removed thing is not there would be said.
            Err(ClientError::Broken { .. }) if request.method != Method::Delete => {
                self.exchange_once(request, scope).await
            }
            result => result,
        }
    }

    async fn exchange_once(&self, request: &Request, scope: &Scope) -> Result<Response, ClientError> {
        let builder = self.prepare(request, scope).body(request.body.clone());
        let work = async {
            let answer = builder.send().await.map_err(|source| self.failed(source))?;
            self.collect(answer).await
        };
        let response = tokio::time::timeout(self.patience, work).await;
        response.unwrap_or_else(|_| {
            Err(ClientError::Timeout {
                action: format!("ask the registry for {}", request.target),
                seconds: self.patience.as_secs(),
            })
        })
    }

    /// The request without its body.
    fn prepare(&self, request: &Request, scope: &Scope) -> reqwest::RequestBuilder {
        let method = match request.method {
            Method::Head => reqwest::Method::HEAD,
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Patch => reqwest::Method::PATCH,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let url = if request.target.starts_with('/') {
            format!("{}{}", self.registry, request.target)
        } else {
            request.target.clone()
        };
        let ours = url.strip_prefix(self.registry.as_str());
        let ours = ours.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        let mut builder = self.http.request(method, url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        // What was granted for this registry is for nobody else to see.
        match self.granted(scope).filter(|_| ours) {
            Some(Authorization::Basic(who)) => builder.basic_auth(&who.username, Some(&who.password)),
            Some(Authorization::Bearer(token)) => builder.bearer_auth(token),
            None => builder,
        }
    }

    async fn collect(&self, answer: reqwest::Response) -> Result<Response, ClientError> {
        let mut response = head(&answer);
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece: Bytes = piece.map_err(|source| self.failed(source))?;
            if response.body.len() + piece.len() > self.limit {
                return Err(ClientError::Protocol(ProtocolError::Malformed {
                    what: "an answer",
                    reason: format!("it is larger than {} MiB", self.limit >> 20),
                }));
            }
            response.body.extend_from_slice(&piece);
        }
        Ok(response)
    }

    /// Does what a 401 asks for; false where nothing helps.
    async fn authorize(&self, response: &Response, scope: &Scope) -> Result<bool, ClientError> {
        let challenges = response.header("www-authenticate").and_then(Challenge::parse_all);
        let challenges = challenges.unwrap_or_default();
        let authorization = match auth::answer(&challenges, self.credentials.as_ref(), scope, self.secure) {
            Answer::Give => return Ok(false),
            Answer::Repeat(authorization) => authorization,
            Answer::FetchToken(request) => {
                let mut builder = self.http.get(&request.target).timeout(self.patience);
                if let Some(who) = &self.credentials {
                    builder = builder.basic_auth(&who.username, Some(&who.password));
                }
                let answer = builder.send().await.map_err(|source| self.failed(source))?;
                auth::token(&self.collect(answer).await?)?
            }
        };
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        // The same again was refused just now.
        Ok(granted.insert(scope.clone(), authorization.clone()) != Some(authorization))
    }

    fn granted(&self, scope: &Scope) -> Option<Authorization> {
        let granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.get(scope).cloned()
    }

    fn failed(&self, source: reqwest::Error) -> ClientError {
        ClientError::of(&self.registry, source)
    }
}

fn head(answer: &reqwest::Response) -> Response {
    let mut headers = BTreeMap::<String, String>::new();
    for (name, value) in answer.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|all| *all = format!("{all}, {value}"))
            .or_insert_with(|| value.into_owned());
    }
    Response {
        status: answer.status().as_u16(),
        headers,
        body: Vec::new(),
    }
}

fn tls(authority: Option<&str>) -> Result<rustls::ClientConfig, ClientError> {
    let bad = |reason: String| ClientError::Authority { reason };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?;
    let Some(pem) = authority else {
        let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(|error| bad(error.to_string()))?;
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth());
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
