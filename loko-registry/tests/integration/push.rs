//! Pushing, listing, pulling, removing.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use futures_util::StreamExt as _;
use loko_registry::driver::ClientError;
use loko_registry::oci::calls::{Page, Tags};
use loko_registry::oci::{Digest, ProtocolError, Reference, Repository};

use crate::bed::{Image, Registry, authority, client, engines};

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_is_pushed_is_there_until_it_is_removed() {
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(engine, directory.path(), Vec::new());
        let client = &registry.client;
        client.ping().await.unwrap();
        assert_eq!(client.repositories().await.unwrap(), []);

        let (app, other) = (name("app"), name("me/other"));
        let image = Image::docker("a");
        for tag in ["1", "2", "3"] {
            assert_eq!(image.push(client, &app, tag).await, image.digest());
        }
        Image::docker("b").push(client, &other, "1").await;
        assert_eq!(client.repositories().await.unwrap(), [app.clone(), other.clone()]);
        assert_eq!(client.tags(&app).await.unwrap(), ["1", "2", "3"]);
        assert_eq!(Image::pull(client, &app, "1").await, image.digest());
        assert_eq!(Image::pull(client, &app, image.digest().as_str()).await, image.digest());

        let sent = client
            .put_blob(&app, &Digest::of(&image.blobs[0]), image.blobs[0].clone())
            .await;
        assert!(!sent.unwrap(), "{engine:?}: what is there is not sent again");

        let tag = Reference::Tag("1".parse().unwrap());
        client.remove(&app, &tag).await.unwrap();
        assert_eq!(client.digest(&app, &tag).await.unwrap(), None);
        client.remove(&app, &Reference::Digest(image.digest())).await.ok();
        let error = client
            .manifest(&app, &Reference::Digest(image.digest()))
            .await
            .unwrap_err();
        assert!(error.is_not_found(), "{engine:?}: {error}");
    }
}

#[tokio::test]
async fn a_purged_repository_has_no_tags_and_others_keep_theirs() {
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(engine, directory.path(), Vec::new());
        let (app, other) = (name("app"), name("other"));
        for (repository, seed, tag) in [(&app, "a", "1"), (&app, "a", "2"), (&app, "b", "3"), (&other, "a", "1")] {
            Image::docker(seed).push(&registry.client, repository, tag).await;
        }
        assert_eq!(registry.client.purge(&app).await.unwrap(), 2, "{engine:?}");
        let left = match registry.client.tags(&app).await {
            Err(error) if error.is_not_found() => Vec::new(),
            tags => tags.unwrap(),
        };
        assert_eq!(left, Vec::<String>::new(), "{engine:?}");
        let digest = Image::pull(&registry.client, &other, "1").await;
        assert_eq!(digest, Image::docker("a").digest(), "{engine:?}");
    }
}

#[tokio::test]
async fn a_long_list_comes_in_parts() {
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(engine, directory.path(), Vec::new());
        let repository = name("app");
        let image = Image::docker("a");
        let tags: Vec<_> = (0..7).map(|number| format!("v{number}")).collect();
        for tag in &tags {
            image.push(&registry.client, &repository, tag).await;
        }
        let mut found = Vec::new();
        let mut parts = 0;
        let mut page = Some(Page::First(3));
        while let Some(this) = page.take() {
            let call = Tags {
                repository: repository.clone(),
                page: this,
            };
            let listed = registry.client.call(&call).await.unwrap();
            found.extend(listed.items);
            page = listed.next;
            parts += 1;
        }
        assert_eq!(found, tags, "{engine:?}");
        assert!(parts >= 3, "{engine:?}: {parts} parts");
    }
}

#[tokio::test]
async fn damaged_content_is_refused_on_both_ways() {
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(engine, directory.path(), Vec::new());
        let repository = name("app");
        let error = registry
            .client
            .put_blob(&repository, &Digest::of(b"right"), b"wrong".to_vec())
            .await;
        assert!(
            matches!(error, Err(ClientError::Protocol(ProtocolError::Refused { .. }))),
            "{engine:?}: {error:?}"
        );
        let size = registry
            .client
            .blob_size(&repository, &Digest::of(b"right"))
            .await
            .unwrap();
        assert_eq!(size, None, "{engine:?}");
    }
}

#[tokio::test]
async fn a_registry_killed_in_the_middle_of_a_push_takes_the_next_one() {
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = Registry::start(engine, directory.path(), Vec::new());
        let repository = name("app");
        let kept = Image::docker("kept");
        kept.push(&registry.client, &name("kept"), "1").await;

        // A layer of which one piece arrives.
        let piece = futures_util::stream::once(async { Ok(bytes::Bytes::from(vec![b'x'; 1 << 20])) });
        let body = piece.chain(futures_util::stream::pending());
        let (client, to) = (registry.client.clone(), repository.clone());
        let push = tokio::spawn(async move { client.write_blob(&to, &Digest::of(b"never"), 4 << 20, body).await });
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        registry.servers[0].kill();
        assert!(push.await.unwrap().is_err(), "{engine:?}");
        registry.servers[0].start_again();

        let image = Image::docker("a");
        assert_eq!(image.push(&registry.client, &repository, "1").await, image.digest());
        assert_eq!(Image::pull(&registry.client, &repository, "1").await, image.digest());
        assert_eq!(Image::pull(&registry.client, &name("kept"), "1").await, kept.digest());
    }
}

#[tokio::test]
async fn whom_one_does_not_trust_one_does_not_talk_to() {
    let Some(&engine) = engines().first() else { return };
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(engine, directory.path(), Vec::new());
    let port = registry.servers[0].port;
    let (_, stranger) = authority();
    let error = client(port, Some(stranger)).ping().await.unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    // Port 1 is never listened on.
    let error = client(1, None).ping().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.to_string(), "no registry answers at http://127.0.0.1:1");
}
