//! Writing: a blob is announced, sent to where the registry says, and closed with its digest; a manifest is put last
//! (OCI distribution specification, "Push").

use super::Call;
use super::calls::{blob_name, digest_header, manifest_name, manifest_path, with_digest};
use super::digest::Digest;
use super::error::ProtocolError;
use super::http::{Method, Request, Response, Scope, encode};
use super::name::{Reference, Repository};

/// Announces a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartUpload {
    /// Where it shall lie.
    pub repository: Repository,
    /// Its digest and a repository that has it: the registry may take it from there.
    pub mount: Option<(Digest, Repository)>,
}

/// What became of an announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It was taken from the other repository.
    Mounted,
    /// It is to be sent there.
    At(Location),
}

/// Where the next piece goes: a path of the registry, or a whole URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location(String);

/// Sends a piece of a blob. Its bytes are carried beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendPiece {
    /// Where the blob shall lie.
    pub repository: Repository,
    /// What the last answer said.
    pub location: Location,
}

/// Closes an upload. The blob's bytes, or their last, are carried beside it; there may be none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishUpload {
    /// Where the blob shall lie.
    pub repository: Repository,
    /// What the last answer said.
    pub location: Location,
    /// The digest of the whole.
    pub digest: Digest,
}

/// Puts a manifest, whose blobs are all there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutManifest {
    /// Where it shall lie.
    pub repository: Repository,
    /// The tag it shall have, or its digest.
    pub reference: Reference,
    /// Its type.
    pub media_type: String,
    /// The whole.
    pub bytes: Vec<u8>,
}

impl Call for StartUpload {
    type Output = Started;

    fn request(&self) -> Request {
        let mut target = format!("/v2/{}/blobs/uploads/", self.repository);
        if let Some((digest, from)) = &self.mount {
            target = format!(
                "{target}?mount={}&from={}",
                encode(digest.as_str()),
                encode(from.as_str())
            );
        }
        Request::new(Method::Post, target).header("content-length", "0")
    }

    fn read(&self, response: &Response) -> Result<Started, ProtocolError> {
        if response.status == 201 && self.mount.is_some() {
            return Ok(Started::Mounted);
        }
        let action = format!("begin an upload to {}", self.repository);
        response.expect(202, &action, &format!("the repository {}", self.repository))?;
        location(response).map(Started::At)
    }

    fn scope(&self) -> Scope {
        match &self.mount {
            Some((_, from)) => Scope::Mount(self.repository.clone(), from.clone()),
            None => Scope::Push(self.repository.clone()),
        }
    }
}

impl Call for SendPiece {
    type Output = Location;

    fn request(&self) -> Request {
        Request::new(Method::Patch, self.location.0.clone()).header("content-type", "application/octet-stream")
    }

    fn read(&self, response: &Response) -> Result<Location, ProtocolError> {
        let action = format!("take a piece of a blob for {}", self.repository);
        response.expect(202, &action, "the upload")?;
        location(response)
    }

    fn scope(&self) -> Scope {
        Scope::Push(self.repository.clone())
    }
}

impl Call for FinishUpload {
    type Output = ();

    fn request(&self) -> Request {
        Request::new(Method::Put, with_digest(&self.location.0, &self.digest))
            .header("content-type", "application/octet-stream")
    }

    fn read(&self, response: &Response) -> Result<(), ProtocolError> {
        let what = blob_name(&self.digest);
        response.expect(201, &format!("take {what}"), "the upload")
    }

    fn scope(&self) -> Scope {
        Scope::Push(self.repository.clone())
    }
}

impl Call for PutManifest {
    /// Its digest.
    type Output = Digest;

    fn request(&self) -> Request {
        let mut request = Request::new(Method::Put, manifest_path(&self.repository, &self.reference))
            .header("content-type", self.media_type.clone());
        request.body.clone_from(&self.bytes);
        request
    }

    fn read(&self, response: &Response) -> Result<Digest, ProtocolError> {
        let what = manifest_name(&self.repository, &self.reference);
        response.expect(201, &format!("take {what}"), &what)?;
        let ours = match &self.reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(_) => Digest::of(&self.bytes),
        };
        // A registry that stored something else, such as a converted manifest, must not pass unnoticed.
        if let Some(theirs) = digest_header(response)? {
            ours.compare(theirs)
                .map_err(|source| ProtocolError::Digest { what, source })?;
        }
        Ok(ours)
    }

    fn scope(&self) -> Scope {
        Scope::Push(self.repository.clone())
    }
}

fn location(response: &Response) -> Result<Location, ProtocolError> {
    let malformed = |reason: String| ProtocolError::Malformed {
        what: "a Location",
        reason,
    };
    let text = response
        .header("location")
        .ok_or_else(|| malformed("it is missing".to_owned()))?;
    let path = text.starts_with('/') && !text.starts_with("//");
    if path || text.starts_with("https://") || text.starts_with("http://") {
        return Ok(Location(text.to_owned()));
    }
    Err(malformed(format!("`{text}` is neither a path nor a URL")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn answer(status: u16, location: Option<&str>) -> Response {
        let headers = location.map(|text| ("location".to_owned(), text.to_owned()));
        Response {
            status,
            headers: headers.into_iter().collect::<BTreeMap<_, _>>(),
            body: Vec::new(),
        }
    }

    #[test]
    fn an_upload_goes_where_the_registry_says() {
        let repository: Repository = "app".parse().unwrap();
        let digest = Digest::of(b"x");
        let start = StartUpload {
            repository: repository.clone(),
            mount: None,
        };
        let Started::At(location) = start.read(&answer(202, Some("/v2/app/blobs/uploads/1?s=a"))).unwrap() else {
            panic!("nothing was to be mounted");
        };
        let piece = SendPiece {
            repository: repository.clone(),
            location,
        };
        let location = piece.read(&answer(202, Some("/v2/app/blobs/uploads/1?s=b"))).unwrap();
        let finish = FinishUpload {
            repository,
            location,
            digest: digest.clone(),
        };
        let expected = format!("/v2/app/blobs/uploads/1?s=b&digest=sha256%3A{}", &digest.as_str()[7..]);
        assert_eq!(finish.request().target, expected);
        for bad in [None, Some("uploads/1"), Some("//elsewhere/")] {
            assert!(start.read(&answer(202, bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_mount_that_is_not_granted_is_an_upload() {
        let start = StartUpload {
            repository: "app".parse().unwrap(),
            mount: Some((Digest::of(b"x"), "me/base".parse().unwrap())),
        };
        assert!(start.request().target.ends_with("&from=me%2Fbase"));
        assert_eq!(start.read(&answer(201, Some("/v2/app/blobs/x"))), Ok(Started::Mounted));
        assert!(matches!(start.read(&answer(202, Some("/u"))), Ok(Started::At(_))));
    }

    #[test]
    fn a_registry_that_stores_something_else_is_found_out() {
        let put = PutManifest {
            repository: "app".parse().unwrap(),
            reference: "1".parse().unwrap(),
            media_type: "x".to_owned(),
            bytes: b"{}".to_vec(),
        };
        let mut response = answer(201, None);
        assert_eq!(put.read(&response), Ok(Digest::of(b"{}")));
        let other = Digest::of(b"other").to_string();
        response.headers.insert("docker-content-digest".to_owned(), other);
        assert!(matches!(put.read(&response), Err(ProtocolError::Digest { .. })));
    }
}
