//! One request to HAProxy's statistics.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The statistics of a large configuration are some hundred kilobytes.
const LARGEST: u64 = 16 << 20;

/// The body of an answer with status 200 from 127.0.0.1; `None` for anything else.
pub(super) async fn get(port: u16, path: &str) -> Option<String> {
    let limit = Duration::from_secs(2);
    tokio::time::timeout(limit, request(port, path))
        .await
        .ok()?
        .ok()
        .and_then(|answer| body(&answer))
}

async fn request(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn body(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?;
    (status == "200").then(|| body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::body;

    #[test]
    fn only_an_answer_with_200_has_a_body() {
        assert_eq!(body("HTTP/1.1 200 OK\r\na: b\r\n\r\nabc").as_deref(), Some("abc"));
        assert_eq!(body("HTTP/1.1 503 Service Unavailable\r\n\r\nabc"), None);
        assert_eq!(body("SSH-2.0\r\n\r\n"), None);
        assert_eq!(body(""), None);
    }
}
