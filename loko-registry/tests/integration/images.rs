//! Where images lie in the registry.

use loko_config::model::RegistryEngine::{Distribution, Zot};

use crate::sample::{full, spec};

#[test]
fn an_image_of_a_mirrored_source_is_found_under_its_name() {
    let mirrored = |image: &str| {
        let found = full(Zot).mirrored(&image.parse().unwrap()).unwrap();
        found.map(|(repository, reference)| format!("{repository} {reference}"))
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    for (image, place) in [
        ("nginx", "docker.io/library/nginx latest".to_owned()),
        ("index.docker.io/me/app:1", "docker.io/me/app 1".to_owned()),
        ("ghcr.io/me/app:1", "ghcr.io/me/app 1".to_owned()),
        ("k8s.gcr.io/pause:3", "registry.k8s.io/pause 3".to_owned()),
        (&format!("quay.io/a/b:1@{digest}"), format!("quay.io/a/b {digest}")),
    ] {
        assert_eq!(mirrored(image), Some(place), "{image}");
    }
    assert_eq!(mirrored("corp.example/app:1"), None);
    let image = "nginx".parse().unwrap();
    assert_eq!(spec(Zot).mirrored(&image), Ok(None));
    assert_eq!(full(Distribution).mirrored(&image), Ok(None));
}

#[test]
fn a_loaded_image_keeps_its_name() {
    let spec = full(Zot);
    for (image, place) in [
        ("app", "app"),
        ("app:1", "app"),
        ("library/app:1", "library/app"),
        ("me/app:1", "me/app"),
        ("cr.dev.me:8443/app:1", "app"),
        ("ghcr.io/me/app:1", "ghcr.io/me/app"),
        ("localhost:5000/app", "localhost-5000/app"),
    ] {
        let (repository, _) = spec.place_of(&image.parse().unwrap()).unwrap();
        assert_eq!(repository.as_str(), place, "{image}");
    }
}

#[test]
fn a_repository_tells_its_source() {
    let spec = full(Zot);
    let source = |repository: &str| {
        spec.source_of(&repository.parse().unwrap())
            .map(|source| source.name.as_str())
    };
    assert_eq!(source("ghcr.io/me/app"), Some("ghcr"));
    assert_eq!(source("ghcr.iox/me/app"), None);
    assert_eq!(source("app"), None);
}
