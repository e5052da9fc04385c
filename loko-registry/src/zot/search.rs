//! Zot's search (`extensions.search`, GraphQL): sizes without asking for a single manifest, which on a mirror would ask the
//! upstream about each.

use serde::Deserialize;

use crate::oci::{Call, Method, ProtocolError, Repository, Request, Response, Scope};

/// Which repositories are there, and how large is each?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repositories;

/// A repository as Zot knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: Repository,
    /// The bytes of its blobs, each counted once.
    pub size: u64,
    /// When something last changed in it; RFC 3339.
    pub updated: Option<String>,
}

impl Call for Repositories {
    type Output = Vec<Found>;

    fn request(&self) -> Request {
        // All in one page: a limit of 0 is none.
        let query = "{RepoListWithNewestImage(requestedPage:{limit:0,offset:0,sortBy:ALPHABETIC_ASC}){Results{Name Size LastUpdated}}}";
        Request {
            method: Method::Get,
            target: format!("/v2/_zot/ext/search?query={}", crate::oci::encode(query)),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn read(&self, response: &Response) -> Result<Vec<Found>, ProtocolError> {
        response.expect(200, "list its repositories", "the registry's search")?;
        let malformed = |reason: String| ProtocolError::Malformed {
            what: "a list of repositories",
            reason,
        };
        let answer: Answer = serde_json::from_slice(&response.body).map_err(|error| malformed(error.to_string()))?;
        if let Some(error) = answer.errors.into_iter().flatten().next() {
            return Err(malformed(error.message));
        }
        let page = answer.data.map(|data| data.page);
        let results = page.and_then(|page| page.results).unwrap_or_default();
        Ok(results.into_iter().filter_map(Item::found).collect())
    }

    fn scope(&self) -> Scope {
        Scope::Catalog
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    errors: Option<Vec<GraphError>>,
}

#[derive(Deserialize)]
struct GraphError {
    message: String,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "RepoListWithNewestImage")]
    page: Results,
}

#[derive(Deserialize)]
struct Results {
    #[serde(rename = "Results")]
    results: Option<Vec<Item>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    name: String,
    /// A number, as text.
    size: Option<String>,
    last_updated: Option<String>,
}

impl Item {
    fn found(self) -> Option<Found> {
        Some(Found {
            name: self.name.parse().ok()?,
            size: self.size.and_then(|size| size.parse().ok()).unwrap_or(0),
            updated: self.last_updated,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<Found>, ProtocolError> {
        Repositories.read(&Response {
            status: 200,
            body: body.as_bytes().to_vec(),
            ..Response::default()
        })
    }

    #[test]
    fn sizes_are_read() {
        let found = read(
            r#"{"data":{"RepoListWithNewestImage":{"Results":[{"Name":"app","Size":"560","LastUpdated":"2026-11-24T07:00:00Z"},{"Name":"x","Size":null,"LastUpdated":null}]}}}"#,
        );
        let found = found.unwrap();
        assert_eq!(found[0].size, 560);
        assert_eq!((found[1].name.as_str(), found[1].size), ("x", 0));
        assert_eq!(
            read(r#"{"data":{"RepoListWithNewestImage":{"Results":null}}}"#),
            Ok(vec![])
        );
        assert!(read(r#"{"errors":[{"message":"no"}],"data":null}"#).is_err());
    }
}
