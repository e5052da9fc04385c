//! As much of HTTP/1.1 (RFC 9112) as clients of Docker's API and of Kubernetes' need: one request a connection.

use std::io::{Read, Write};

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the version of the API.
    pub(crate) path: String,
    query: String,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A value of the query, decoded; empty where it is not there.
    pub(crate) fn query(&self, name: &str) -> String {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| decoded(value))
            .next()
            .unwrap_or_default()
    }

    /// A header; empty where it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.head, name).unwrap_or_default()
    }

    /// `label` of the query's `filters`.
    pub(crate) fn labels(&self) -> Vec<String> {
        let filters: serde_json::Value = serde_json::from_str(&self.query("filters")).unwrap_or_default();
        let labels = filters["label"].as_array().into_iter().flatten();
        labels.filter_map(|label| label.as_str().map(str::to_owned)).collect()
    }
}

/// Percent-encoding (RFC 3986, 2.1), and `+` for a space, as forms have it.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one request; `None` where the other end has gone away.
pub(crate) fn read(connection: &mut impl Read) -> Option<Request> {
    let head = until(connection, b"\r\n\r\n")?;
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut body = Vec::new();
    if let Some(length) = header(&head, "content-length").and_then(|length| length.parse().ok()) {
        connection.take(length).read_to_end(&mut body).ok()?;
    } else if header(&head, "transfer-encoding").is_some() {
        loop {
            let size = until(connection, b"\r\n")?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            connection.take(size).read_to_end(&mut body).ok()?;
            until(connection, b"\r\n")?;
            if size == 0 {
                break;
            }
        }
    }
    // `/v1.52/containers/json`
    let unversioned = path
        .strip_prefix("/v1.")
        .and_then(|rest| Some(&rest[rest.find('/')?..]));
    Some(Request {
        method,
        path: unversioned.unwrap_or(path).to_owned(),
        query: query.to_owned(),
        body,
        head,
    })
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let mut pairs = head.lines().filter_map(|line| line.split_once(": "));
    pairs
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value)
}

fn until(connection: &mut impl Read, end: &[u8]) -> Option<String> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(end) {
        connection.read_exact(&mut byte).ok()?;
        read.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&read).into_owned())
}

/// Writes an answer. Who has gone away does not hear it.
pub(crate) fn write(connection: &mut impl Write, (status, body): (u16, Vec<u8>)) {
    let length = if status == 204 {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let head = format!("HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n{length}Connection: close\r\n\r\n");
    let _ = connection.write_all(&[head.into_bytes(), body].concat());
}
