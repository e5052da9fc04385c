//! An image that the engine holds, and the ways to name one.

use serde::Serialize;

/// An image that the engine holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageFacts {
    /// Content address of the image (its configuration or index, depending on the engine's store).
    pub id: String,
    /// Tags it has.
    pub tags: Vec<String>,
    /// Size in bytes as the engine counts it.
    pub size: u64,
    /// `amd64`, `arm64`, …
    pub architecture: String,
}

/// The name under which containerd holds an image: host, path and tag written out.
///
/// `traefik:v3` → `docker.io/library/traefik:v3`, `ghcr.io/a/b` → `ghcr.io/a/b:latest`
/// (the rule of Docker's reference library: a first part with a dot, a colon, or `localhost` is a host).
#[must_use]
pub fn canonical(reference: &str) -> String {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let has_tag = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    let host = name.split_once('/').map(|(first, _)| first);
    let mut full = match host {
        Some(host) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    };
    if !has_tag && digest.is_none() {
        full.push_str(":latest");
    }
    if let Some(digest) = digest {
        full.push('@');
        full.push_str(digest);
    }
    full
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn references_are_written_out_as_containerd_holds_them() {
        for (short, full) in [
            ("traefik:v3.7.13", "docker.io/library/traefik:v3.7.13"),
            ("valkey/valkey", "docker.io/valkey/valkey:latest"),
            ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x:2", "localhost:5000/x:2"),
            ("a@sha256:0", "docker.io/library/a@sha256:0"),
        ] {
            assert_eq!(canonical(short), full);
        }
    }
}
