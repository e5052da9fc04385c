//! Releases and tags on GitHub (docs.github.com, "REST API endpoints for releases", "… for repositories").

use loko_config::versions::is_prerelease;
use serde::Deserialize;

use crate::oci::calls::{Listed, Page};
use crate::oci::{Call, Method, ProtocolError, Request, Response, Scope, link};

/// A page of releases or tags.
#[derive(Clone, PartialEq, Eq)]
pub struct GitHubList {
    /// What is listed: `/repos/owner/name/releases`.
    pub path: String,
    /// A path with its query, or the first page.
    pub page: Page,
    /// What is shown to those who ask for much (60 questions an hour are free).
    pub token: Option<String>,
}

impl std::fmt::Debug for GitHubList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitHubList")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Call for GitHubList {
    type Output = Listed;

    fn request(&self) -> Request {
        let target = match &self.page {
            Page::First(count) => format!("{}?per_page={count}", self.path),
            Page::At(target) => target.clone(),
        };
        let request = Request::new(Method::Get, target)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn read(&self, response: &Response) -> Result<Listed, ProtocolError> {
        #[derive(Deserialize)]
        struct Words {
            message: String,
        }
        if response.status != 200
            && let Ok(Words { message }) = serde_json::from_slice(&response.body)
        {
            let action = format!("list {}", self.path);
            // 403 and 429 are also what says that too much was asked ("Rate limits for the REST API").
            return Err(match response.status {
                404 => ProtocolError::NotFound {
                    what: self.path.clone(),
                },
                401 | 403 | 429 => ProtocolError::Denied { action, message },
                status => ProtocolError::Refused {
                    action,
                    status,
                    code: None,
                    message,
                },
            });
        }
        response.expect(200, &format!("list {}", self.path), &self.path)?;
        let items = versions(&response.body).map_err(|error| ProtocolError::Malformed {
            what: "a list of versions",
            reason: error.to_string(),
        })?;
        let next = response.header("link").and_then(link::next);
        Ok(Listed {
            items,
            next: next.map(Page::At),
        })
    }

    fn scope(&self) -> Scope {
        Scope::None
    }
}

/// The versions in a list of releases or tags. Drafts are none; what its maker marks as a pre-release is one, also where its
/// name does not say so, and a name that does not say so would be taken for a stable one.
fn versions(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Item {
        /// Of a release, whose `name` is its title.
        tag_name: Option<String>,
        /// Of a tag.
        name: Option<String>,
        #[serde(default)]
        draft: bool,
        #[serde(default)]
        prerelease: bool,
    }
    let items: Vec<Item> = serde_json::from_slice(body)?;
    let names = items.into_iter().filter(|item| !item.draft).filter_map(|item| {
        let name = item.tag_name.or(item.name)?;
        (!item.prerelease || is_prerelease(&name)).then_some(name)
    });
    Ok(names.collect())
}
