//! The calls that read and remove. Writing is in [`super::upload`].

use super::digest::Digest;
use super::error::ProtocolError;
use super::http::{Method, Request, Response, Scope, encode};
use super::manifest::{self, Descriptor, Manifest};
use super::name::{Reference, Repository};
use super::{Call, link};

/// Is this a registry?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping;

/// Which repositories are there? Not part of the specification, but Zot and distribution both offer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// Which part of the list.
    pub page: Page,
}

/// Which tags has a repository?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// The repository.
    pub repository: Repository,
    /// Which part of the list.
    pub page: Page,
}

/// Which part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// The first, of at most so many.
    First(u32),
    /// The one to which the last one's `next` leads.
    At(String),
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As the registry orders them.
    pub items: Vec<String>,
    /// The next part; `None`: this was the last.
    pub next: Option<Page>,
}

/// Give a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetManifest {
    /// The repository.
    pub repository: Repository,
    /// Its tag or digest.
    pub reference: Reference,
}

/// A manifest as it came; its bytes are what its digest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// What it says.
    pub manifest: Manifest,
    /// The type it came with, or says it has.
    pub media_type: String,
    /// The whole.
    pub bytes: Vec<u8>,
}

/// Is a manifest there?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadManifest {
    /// The repository.
    pub repository: Repository,
    /// Its tag or digest.
    pub reference: Reference,
}

/// Take a tag, or a manifest and all tags that name it, away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteManifest {
    /// The repository.
    pub repository: Repository,
    /// A tag, which not every registry takes, or a digest.
    pub reference: Reference,
}

/// Is a blob there?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadBlob {
    /// The repository.
    pub repository: Repository,
    /// Its digest.
    pub digest: Digest,
}

/// Give a blob. The answer's body is left to whoever carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetBlob {
    /// The repository.
    pub repository: Repository,
    /// Its digest.
    pub digest: Digest,
}

/// What is about a manifest: signatures, bills of materials, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrers {
    /// The repository.
    pub repository: Repository,
    /// The manifest's digest.
    pub digest: Digest,
}

impl Call for Ping {
    type Output = ();

    fn request(&self) -> Request {
        Request::new(Method::Get, "/v2/")
    }

    fn read(&self, response: &Response) -> Result<(), ProtocolError> {
        response.expect(200, "answer", "the distribution API")
    }

    fn scope(&self) -> Scope {
        Scope::None
    }
}

impl Call for Catalog {
    type Output = Listed;

    fn request(&self) -> Request {
        self.page.request("/v2/_catalog")
    }

    fn read(&self, response: &Response) -> Result<Listed, ProtocolError> {
        #[derive(serde::Deserialize)]
        struct Body {
            repositories: Option<Vec<String>>,
        }
        response.expect(200, "list its repositories", "the list of repositories")?;
        let body: Body = json(response, "a list of repositories")?;
        Ok(Listed::new(body.repositories, response))
    }

    fn scope(&self) -> Scope {
        Scope::Catalog
    }
}

impl Call for Tags {
    type Output = Listed;

    fn request(&self) -> Request {
        self.page.request(&format!("/v2/{}/tags/list", self.repository))
    }

    fn read(&self, response: &Response) -> Result<Listed, ProtocolError> {
        #[derive(serde::Deserialize)]
        struct Body {
            // Null where all tags are gone.
            tags: Option<Vec<String>>,
        }
        let what = format!("the repository {}", self.repository);
        response.expect(200, &format!("list the tags of {}", self.repository), &what)?;
        let body: Body = json(response, "a list of tags")?;
        Ok(Listed::new(body.tags, response))
    }

    fn scope(&self) -> Scope {
        Scope::Pull(self.repository.clone())
    }
}

impl Call for GetManifest {
    type Output = Fetched;

    fn request(&self) -> Request {
        Request::new(Method::Get, manifest_path(&self.repository, &self.reference)).header("accept", manifest::ACCEPT)
    }

    fn read(&self, response: &Response) -> Result<Fetched, ProtocolError> {
        let what = manifest_name(&self.repository, &self.reference);
        response.expect(200, &format!("give {what}"), &what)?;
        let bytes = response.body.clone();
        let digest = match (&self.reference, digest_header(response)?) {
            (Reference::Digest(wanted), _) => wanted.clone(),
            (Reference::Tag(_), Some(said)) => said,
            (Reference::Tag(_), None) => Digest::of(&bytes),
        };
        digest
            .verify(&bytes)
            .map_err(|source| ProtocolError::Digest { what, source })?;
        let kind = response.header("content-type");
        let manifest = Manifest::parse(&bytes, kind)?;
        Ok(Fetched {
            digest,
            media_type: manifest.media_type().to_owned(),
            manifest,
            bytes,
        })
    }

    fn scope(&self) -> Scope {
        Scope::Pull(self.repository.clone())
    }
}

impl Call for HeadManifest {
    /// Its digest, where the registry says it; `None`: there is none.
    type Output = Option<Option<Digest>>;

    fn request(&self) -> Request {
        Request::new(Method::Head, manifest_path(&self.repository, &self.reference)).header("accept", manifest::ACCEPT)
    }

    fn read(&self, response: &Response) -> Result<Self::Output, ProtocolError> {
        if response.status == 404 {
            return Ok(None);
        }
        let what = manifest_name(&self.repository, &self.reference);
        response.expect(200, &format!("look for {what}"), &what)?;
        Ok(Some(digest_header(response)?))
    }

    fn scope(&self) -> Scope {
        Scope::Pull(self.repository.clone())
    }
}

impl Call for DeleteManifest {
    type Output = ();

    fn request(&self) -> Request {
        Request::new(Method::Delete, manifest_path(&self.repository, &self.reference))
    }

    fn read(&self, response: &Response) -> Result<(), ProtocolError> {
        let what = manifest_name(&self.repository, &self.reference);
        response.expect(202, &format!("remove {what}"), &what)
    }

    fn scope(&self) -> Scope {
        Scope::Delete(self.repository.clone())
    }
}

impl Call for HeadBlob {
    /// Its size; `None`: it is not there.
    type Output = Option<u64>;

    fn request(&self) -> Request {
        Request::new(Method::Head, blob_path(&self.repository, &self.digest))
    }

    fn read(&self, response: &Response) -> Result<Option<u64>, ProtocolError> {
        if response.status == 404 {
            return Ok(None);
        }
        let what = blob_name(&self.digest);
        response.expect(200, &format!("look for {what}"), &what)?;
        let length = response.header("content-length").and_then(|text| text.parse().ok());
        length.map(Some).ok_or_else(|| ProtocolError::Malformed {
            what: "a Content-Length",
            reason: "it is missing or no number".to_owned(),
        })
    }

    fn scope(&self) -> Scope {
        Scope::Pull(self.repository.clone())
    }
}

impl Call for GetBlob {
    type Output = ();

    fn request(&self) -> Request {
        Request::new(Method::Get, blob_path(&self.repository, &self.digest))
    }

    fn read(&self, response: &Response) -> Result<(), ProtocolError> {
        let what = blob_name(&self.digest);
        response.expect(200, &format!("give {what}"), &what)
    }

    fn scope(&self) -> Scope {
        Scope::Pull(self.repository.clone())
    }
}

impl Call for Referrers {
    type Output = Vec<Descriptor>;

    fn request(&self) -> Request {
        Request::new(
            Method::Get,
            format!("/v2/{}/referrers/{}", self.repository, self.digest),
        )
        .header("accept", manifest::ACCEPT)
    }

    fn read(&self, response: &Response) -> Result<Vec<Descriptor>, ProtocolError> {
        let what = format!("what refers to {}", self.digest);
        response.expect(200, &format!("list {what}"), &what)?;
        let manifest = Manifest::parse(&response.body, response.header("content-type"))?;
        Ok(manifest.children().to_vec())
    }

    fn scope(&self) -> Scope {
        Scope::Pull(self.repository.clone())
    }
}

impl Page {
    fn request(&self, path: &str) -> Request {
        match self {
            Self::First(count) => Request::new(Method::Get, format!("{path}?n={count}")),
            Self::At(target) => Request::new(Method::Get, target.clone()),
        }
    }
}

impl Listed {
    fn new(items: Option<Vec<String>>, response: &Response) -> Self {
        Self {
            items: items.unwrap_or_default(),
            next: response.header("link").and_then(link::next).map(Page::At),
        }
    }
}

pub(super) fn manifest_path(repository: &Repository, reference: &Reference) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

pub(super) fn manifest_name(repository: &Repository, reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("the manifest {repository}:{tag}"),
        Reference::Digest(digest) => format!("the manifest {repository}@{digest}"),
    }
}

pub(super) fn blob_path(repository: &Repository, digest: &Digest) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

pub(super) fn blob_name(digest: &Digest) -> String {
    format!("the blob {digest}")
}

/// `?digest=…`, or `&digest=…` where there is a query already.
pub(super) fn with_digest(target: &str, digest: &Digest) -> String {
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}digest={}", encode(digest.as_str()))
}

pub(super) fn digest_header(response: &Response) -> Result<Option<Digest>, ProtocolError> {
    let Some(text) = response.header("docker-content-digest") else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|error: super::DigestError| ProtocolError::Malformed {
            what: "a Docker-Content-Digest",
            reason: error.to_string(),
        })
}

fn json<'a, T: serde::Deserialize<'a>>(response: &'a Response, what: &'static str) -> Result<T, ProtocolError> {
    serde_json::from_slice(&response.body).map_err(|error| ProtocolError::Malformed {
        what,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        Response {
            status,
            headers: headers
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect::<BTreeMap<_, _>>(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn tags(page: Page) -> Tags {
        Tags {
            repository: "me/app".parse().unwrap(),
            page,
        }
    }

    #[test]
    fn a_list_leads_to_its_next_part() {
        let call = tags(Page::First(2));
        assert_eq!(call.request().target, "/v2/me/app/tags/list?n=2");
        let link = [("link", r#"</v2/me/app/tags/list?last=b&n=2>; rel="next""#)];
        let listed = call
            .read(&response(200, &link, r#"{"name":"me/app","tags":["a","b"]}"#))
            .unwrap();
        let next = tags(listed.next.unwrap());
        assert_eq!(next.request().target, "/v2/me/app/tags/list?last=b&n=2");
        let listed = next
            .read(&response(200, &[], r#"{"name":"me/app","tags":null}"#))
            .unwrap();
        assert_eq!((listed.items.len(), listed.next), (0, None));
    }

    #[test]
    fn a_manifest_that_is_not_what_was_asked_for_is_refused() {
        let body = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let get = |reference: Reference| GetManifest {
            repository: "app".parse().unwrap(),
            reference,
        };
        let digest = Digest::of(body.as_bytes());
        let other = Digest::of(b"other");
        let said = [("docker-content-digest", other.as_str())];

        let fetched = get(Reference::Digest(digest.clone()))
            .read(&response(200, &said, body))
            .unwrap();
        assert_eq!(fetched.digest, digest);
        let error = get(Reference::Digest(other.clone()))
            .read(&response(200, &[], body))
            .unwrap_err();
        assert!(matches!(error, ProtocolError::Digest { .. }));
        let error = get("1".parse().unwrap()).read(&response(200, &said, body)).unwrap_err();
        assert!(matches!(error, ProtocolError::Digest { .. }));
        let error = get("1".parse().unwrap()).read(&response(404, &[], "")).unwrap_err();
        assert_eq!(error.to_string(), "the manifest app:1 is not in the registry");
    }

    #[test]
    fn nothing_there_is_an_answer_to_whether_it_is_there() {
        let head = HeadBlob {
            repository: "app".parse().unwrap(),
            digest: Digest::of(b""),
        };
        assert_eq!(head.read(&response(404, &[], "")), Ok(None));
        assert_eq!(head.read(&response(200, &[("content-length", "12")], "")), Ok(Some(12)));
        assert!(head.read(&response(200, &[], "")).is_err());
        assert!(matches!(
            head.read(&response(403, &[], "")),
            Err(ProtocolError::Denied { .. })
        ));
    }
}
