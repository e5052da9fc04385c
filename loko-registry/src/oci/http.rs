//! Requests and answers as values.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::ProtocolError;
use super::name::Repository;

/// A method of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Is it there?
    Head,
    /// Give it.
    Get,
    /// Begin.
    Post,
    /// Go on.
    Patch,
    /// Put it there.
    Put,
    /// Take it away.
    Delete,
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// A path of the registry with its query (`/v2/…`), or a whole URL (`https://…`).
    pub target: String,
    /// Name in lower case, and value.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent with it.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status: 200, 404, …
    pub status: u16,
    /// By name in lower case; several of one name are joined by `, ` (RFC 9110, section 5.3).
    pub headers: BTreeMap<String, String>,
    /// All of the body; that of a blob stays empty.
    pub body: Vec<u8>,
}

/// What has to be allowed for a call (distribution.github.io, "Token Scope Documentation").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Nothing in particular.
    None,
    /// To list the repositories.
    Catalog,
    /// To read a repository.
    Pull(Repository),
    /// To read and write a repository.
    Push(Repository),
    /// To take things out of a repository.
    Delete(Repository),
    /// To write to the first what lies in the second.
    Mount(Repository, Repository),
}

impl Request {
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Response {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Turns every status but a given one into the error it stands for. `what` is what was asked about (`the manifest app:1`),
    /// `action` what was to be done with it (`read the manifest app:1`).
    pub(crate) fn expect(&self, status: u16, action: &str, what: &str) -> Result<(), ProtocolError> {
        if self.status == status {
            return Ok(());
        }
        let (code, message) = self.error();
        Err(match self.status {
            404 => ProtocolError::NotFound { what: what.to_owned() },
            401 | 403 => ProtocolError::Denied {
                action: action.to_owned(),
                message,
            },
            status => ProtocolError::Refused {
                action: action.to_owned(),
                status,
                code,
                message,
            },
        })
    }

    /// The code and the words of the first error in the body, or the body's beginning where it has not that form.
    fn error(&self) -> (Option<String>, String) {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<Error>,
        }
        #[derive(Deserialize)]
        struct Error {
            code: Option<String>,
            message: Option<String>,
        }
        let parsed = serde_json::from_slice::<Errors>(&self.body).ok();
        if let Some(Error { code, message }) = parsed.and_then(|all| all.errors.into_iter().next()) {
            let message = message.or_else(|| code.clone()).unwrap_or_default();
            return (code, message);
        }
        let text = String::from_utf8_lossy(&self.body);
        let line = text.lines().find(|line| !line.trim().is_empty());
        (
            None,
            line.unwrap_or("no reason given").trim().chars().take(200).collect(),
        )
    }
}

impl Scope {
    /// As token servers want it.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Catalog => vec!["registry:catalog:*".to_owned()],
            Self::Pull(repository) => vec![format!("repository:{repository}:pull")],
            Self::Push(repository) => vec![format!("repository:{repository}:pull,push")],
            Self::Delete(repository) => vec![format!("repository:{repository}:pull,push,delete")],
            Self::Mount(to, from) => vec![format!("repository:{to}:pull,push"), format!("repository:{from}:pull")],
        }
    }
}

/// Encodes a value for a query (RFC 3986, section 2.1).
pub(crate) fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format_byte(byte)),
        }
    }
    out
}

fn format_byte(byte: u8) -> String {
    format!("%{byte:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_the_registry_said() {
        let body = br#"{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}"#;
        let response = Response {
            status: 405,
            body: body.to_vec(),
            ..Response::default()
        };
        let error = response.expect(202, "delete app:1", "app:1").unwrap_err();
        assert!(error.is_unsupported());
        assert_eq!(
            error.to_string(),
            "the registry refused to delete app:1: The operation is unsupported. (HTTP 405)"
        );
        let page = Response {
            status: 502,
            body: b"\n<html>Bad Gateway".to_vec(),
            ..Response::default()
        };
        let error = page.expect(200, "read app:1", "app:1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the registry refused to read app:1: <html>Bad Gateway (HTTP 502)"
        );
    }

    #[test]
    fn values_are_encoded() {
        assert_eq!(encode("a b&c=ä/~"), "a%20b%26c%3D%C3%A4%2F~");
    }
}
