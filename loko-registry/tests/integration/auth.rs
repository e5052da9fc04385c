//! A registry that wants to know who asks, played by a few lines here.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loko_registry::Credentials;
use loko_registry::driver::{Client, ClientError, ClientOptions};
use loko_registry::oci::ProtocolError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Answers each request by its first line and its `authorization`, and remembers both.
async fn serve(answer: impl Fn(&str, &str) -> String + Send + 'static) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            while !text.contains("\r\n\r\n") {
                let mut bytes = [0; 4096];
                let length = stream.read(&mut bytes).await.unwrap();
                text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
            }
            let first = text.lines().next().unwrap();
            let authorization = text.lines().find_map(|line| line.strip_prefix("authorization: "));
            let authorization = authorization.unwrap_or("none");
            log.lock().unwrap().push(format!("{first} {authorization}"));
            let reply = answer(first, authorization);
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    (port, asked)
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn client(port: u16, credentials: Option<Credentials>) -> Client {
    Client::new(ClientOptions {
        registry: format!("http://127.0.0.1:{port}"),
        authority: None,
        addresses: BTreeMap::new(),
        credentials,
        patience: Duration::from_secs(5),
    })
    .unwrap()
}

fn me() -> Credentials {
    Credentials {
        username: "me".to_owned(),
        password: "pw".to_owned(),
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let (port, asked) = serve(|first, authorization| match (first, authorization) {
        (first, _) if first.contains("/token") => reply("200 OK", "", r#"{"token":"t1"}"#),
        (_, "Bearer t1") => reply("200 OK", "", r#"{"name":"a","tags":["1"]}"#),
        _ => {
            // The realm is on the same host here.
            let headers = "www-authenticate: Bearer realm=\"/token\",service=\"s\"\r\n";
            reply("401 Unauthorized", headers, "")
        }
    })
    .await;
    // A realm that is no URL helps nobody.
    let error = client(port, Some(me())).tags(&"a".parse().unwrap()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Protocol(ProtocolError::Denied { .. })),
        "{error:?}"
    );
    assert_eq!(asked.lock().unwrap().len(), 1);

    let realm = Arc::new(Mutex::new(String::new()));
    let known = Arc::clone(&realm);
    let (port, asked) = serve(move |first, authorization| match (first, authorization) {
        (first, _) if first.contains("/token") => reply("200 OK", "", r#"{"token":"t1"}"#),
        (_, "Bearer t1") => reply("200 OK", "", r#"{"name":"a","tags":["1"]}"#),
        _ => reply("401 Unauthorized", &known.lock().unwrap(), ""),
    })
    .await;
    *realm.lock().unwrap() =
        format!("www-authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"s\"\r\n");
    let client = client(port, Some(me()));
    for _ in 0..2 {
        assert_eq!(client.tags(&"a".parse().unwrap()).await.unwrap(), ["1"]);
    }
    let asked = asked.lock().unwrap().join("\n");
    insta::assert_snapshot!(asked, @r"
    GET /v2/a/tags/list?n=1000 HTTP/1.1 none
    GET /token?service=s&scope=repository%3Aa%3Apull HTTP/1.1 Basic bWU6cHc=
    GET /v2/a/tags/list?n=1000 HTTP/1.1 Bearer t1
    GET /v2/a/tags/list?n=1000 HTTP/1.1 Bearer t1
    ");
}

#[tokio::test]
async fn a_wrong_password_is_tried_once() {
    let (port, asked) = serve(|_, _| {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        reply("401 Unauthorized", "www-authenticate: Basic realm=\"x\"\r\n", body)
    })
    .await;
    let error = client(port, Some(me())).tags(&"a".parse().unwrap()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the registry does not allow to list the tags of a: authentication required"
    );
    assert_eq!(asked.lock().unwrap().len(), 2);
}
