//! Pulling through a mirror, with two stand-ins for the registries of the world.

use std::collections::{BTreeMap, BTreeSet};

use loko_config::model::MirrorSource;
use loko_registry::oci::{Digest, Repository};
use loko_registry::{Credentials, Source};

use crate::bed::{Image, Registry, engines, has_upstreams, upstream};

fn sources(hub: u16, ghcr: u16) -> Vec<Source> {
    [(MirrorSource::DockerHub, hub), (MirrorSource::Ghcr, ghcr)]
        .into_iter()
        .map(|(source, port)| Source {
            url: format!("http://127.0.0.1:{port}"),
            ..Source::known(source)
        })
        .collect()
}

#[tokio::test]
async fn ten_pulls_fetch_each_blob_once_and_the_last_needs_no_upstream() {
    if !has_upstreams() {
        return;
    }
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let (mut hub, to_hub) = upstream(directory.path());
        let (mut ghcr, to_ghcr) = upstream(directory.path());
        let (x, y): (Repository, Repository) = ("library/x".parse().unwrap(), "user/y".parse().unwrap());
        let images = [Image::docker("x"), Image::docker("y")];
        images[0].push(&to_hub, &x, "1").await;
        images[1].push(&to_ghcr, &y, "1").await;
        let sources = sources(hub.port, ghcr.port);
        let registry = Registry::start(engine, directory.path(), sources.clone());

        for (source, repository, image) in [(&sources[0], &x, &images[0]), (&sources[1], &y, &images[1])] {
            let (mirror, repository) = registry.mirror(source, repository);
            // The first is let finish; of the rest, three at once.
            assert_eq!(
                Image::pull(mirror, &repository, "1").await,
                image.digest(),
                "{engine:?}"
            );
            // distribution answers while it still writes what it fetched.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            for _ in 0..3 {
                let pull = || Image::pull(mirror, &repository, "1");
                let (one, two, three) = tokio::join!(pull(), pull(), pull());
                assert_eq!(BTreeSet::from([one, two, three]), BTreeSet::from([image.digest()]));
            }
        }
        for (server, image) in [(&hub, &images[0]), (&ghcr, &images[1])] {
            for blob in &image.blobs {
                assert_eq!(server.gets(&Digest::of(blob)), 1, "{engine:?}: {}", server.log());
            }
        }

        hub.kill();
        ghcr.kill();
        for (source, repository, image) in [(&sources[0], &x, &images[0]), (&sources[1], &y, &images[1])] {
            let (mirror, repository) = registry.mirror(source, repository);
            assert_eq!(
                Image::pull(mirror, &repository, "1").await,
                image.digest(),
                "{engine:?}"
            );
            let pinned = Image::pull(mirror, &repository, image.digest().as_str()).await;
            assert_eq!(pinned, image.digest(), "{engine:?}");
            let error = mirror.manifest(&repository, &"2".parse().unwrap()).await.unwrap_err();
            assert!(error.is_not_found(), "{engine:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_pushed_image_is_never_asked_for_upstream_nor_replaced_by_one_of_its_name() {
    if !has_upstreams() {
        return;
    }
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let (hub, to_hub) = upstream(directory.path());
        let registry = Registry::start(engine, directory.path(), sources(hub.port, hub.port));
        for name in ["app", "me/app", "my/own/app"] {
            let repository: Repository = name.parse().unwrap();
            Image::docker("theirs").push(&to_hub, &repository, "1").await;
            let image = Image::docker("mine");
            image.push(&registry.client, &repository, "1").await;
            let before = hub.log();
            assert_eq!(
                Image::pull(&registry.client, &repository, "1").await,
                image.digest(),
                "{engine:?}: {name}"
            );
            assert_eq!(hub.log(), before, "{engine:?}: {name}");
        }
    }
}

#[tokio::test]
async fn a_mirror_killed_while_it_fetches_fetches_anew() {
    if !has_upstreams() {
        return;
    }
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let (hub, to_hub) = upstream(directory.path());
        let image = Image::with_layer((0..24_000_000_u32).map(|number| (number % 253) as u8).collect());
        let x: Repository = "library/x".parse().unwrap();
        image.push(&to_hub, &x, "1").await;
        let sources = sources(hub.port, hub.port);
        let mut registry = Registry::start(engine, directory.path(), sources.clone());
        let (mirror, x) = registry.mirror(&sources[0], &x);
        let mirror = mirror.clone();
        let pull = {
            let (mirror, x) = (mirror.clone(), x.clone());
            tokio::spawn(async move { Image::pull(&mirror, &x, "1").await })
        };
        // Once the layer is on its way.
        while hub.gets(&Digest::of(&image.blobs[1])) == 0
            && !hub.log().contains(&format!("/blobs/{}", Digest::of(&image.blobs[0])))
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        for server in &mut registry.servers {
            server.kill();
        }
        pull.await.ok();
        for server in &mut registry.servers {
            server.start_again();
        }
        assert_eq!(Image::pull(&mirror, &x, "1").await, image.digest(), "{engine:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_wants_a_password_gets_it_from_the_mirror() {
    if !has_upstreams() {
        return;
    }
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let (mut hub, to_hub) = upstream(directory.path());
        let image = Image::docker("private");
        let mine: Repository = "me/private".parse().unwrap();
        image.push(&to_hub, &mine, "1").await;
        hub.lock();
        assert!(to_hub.manifest(&mine, &"1".parse().unwrap()).await.is_err());

        let sources = sources(hub.port, hub.port);
        let me = Credentials {
            username: "me".to_owned(),
            password: "hush-hush".to_owned(),
        };
        let known = BTreeMap::from([(sources[0].upstream().to_owned(), me)]);
        let with = directory.path().join("with");
        let registry = Registry::start_as(engine, &with, sources.clone(), known);
        let (mirror, repository) = registry.mirror(&sources[0], &mine);
        assert_eq!(
            Image::pull(mirror, &repository, "1").await,
            image.digest(),
            "{engine:?}"
        );
        // It stands in no file but the one that a Secret becomes.
        for file in fs_err::read_dir(&with).unwrap().map(|entry| entry.unwrap().path()) {
            let is_secret = file.ends_with("credentials.json");
            let text = if file.is_file() {
                fs_err::read(&file).unwrap()
            } else {
                Vec::new()
            };
            let holds = String::from_utf8_lossy(&text).contains("hush-hush");
            assert!(!holds || is_secret, "{engine:?}: {file:?}");
        }
    }
}
