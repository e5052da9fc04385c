//! Questions to the registry from inside: from a node, and as a pod asks. `curl` of the node carries what the registry's
//! crate writes and reads, so an answer means here what it means outside.

use std::collections::BTreeMap;

use loko_cluster::{ClusterError, addresses};
use loko_engine::driver::ExecSpec;
use loko_registry::Source;
use loko_registry::driver::ClientError;
use loko_registry::hosts::CA_PATH;
use loko_registry::oci::calls::{Catalog, Page, Ping};
use loko_registry::oci::{Call, Repository, Response};

use super::At;
use crate::error::CliError;

/// Items of a list that are asked for at once: distribution gives no more.
const PAGE: u32 = 1000;

/// What `curl` is told everywhere: the head of the answer, no proxy, our authority alone.
const CURL: [&str; 10] = [
    "curl",
    "--silent",
    "--show-error",
    "--include",
    "--noproxy",
    "*",
    "--max-time",
    "120",
    "--cacert",
    CA_PATH,
];

/// Asks in the network of a pod, with the cluster's DNS: `$1` is its address, `$2` the URL. Which pod does not matter, the
/// first with a network of its own serves; one that is just going away may not, so the next is tried.
const IN_POD: &str = r#"
printf 'nameserver %s\noptions timeout:2 attempts:2\n' "$1" >/run/loko-resolv.conf
last=1
for namespace in /var/run/netns/*; do
  [ -e "$namespace" ] || continue
  answer=$(nsenter --net="$namespace" unshare --mount sh -c 'mount --bind /run/loko-resolv.conf /etc/resolv.conf &&
    exec curl --silent --show-error --include --noproxy "*" --max-time 10 --cacert "$2" "$1"' sh "$2" "$3" 2>&1)
  last=$?
  [ $last = 0 ] && break
done
# The end of an answer without a body is a line end, which $() took away.
printf '%s\n' "${answer:-no pod has a network of its own on this node}"
exit $last
"#;

impl At<'_> {
    /// Asks from a node, at the registry's cluster address and this port.
    pub(super) async fn ask<C: Call>(self, port: u16, call: &C) -> Result<C::Output, CliError> {
        let request = call.request();
        let base = self.base(port)?;
        let url = if request.target.starts_with('/') {
            format!("{base}{}", request.target)
        } else {
            request.target.clone()
        };
        let mut command: Vec<String> = CURL.map(str::to_owned).to_vec();
        for (name, value) in &request.headers {
            command.extend(["--header".to_owned(), format!("{name}: {value}")]);
        }
        command.push(url);
        let output = self.platform.engine.exec(&self.node(), &ExecSpec::new(command)).await?;
        if output.code != 0 {
            return Err(unreachable(&base, &String::from_utf8_lossy(&output.stderr)));
        }
        let response = parse(&output.stdout).ok_or_else(|| unreachable(&base, "it does not answer as a registry"))?;
        Ok(call.read(&response).map_err(ClientError::from)?)
    }

    /// Fetches a blob and throws it away: what a mirror gives it keeps. Gives its bytes.
    pub(super) async fn fetch_blob(self, port: u16, path: &str) -> Result<u64, CliError> {
        let base = self.base(port)?;
        let mut command: Vec<String> = CURL.map(str::to_owned).to_vec();
        // A blob may be large: what counts is that it goes on.
        let words = "--max-time 3600 --speed-limit 1 --speed-time 120 --fail --location --output /dev/null --write-out %{size_download}";
        command.retain(|word| word != "--include");
        command.extend(words.split(' ').map(str::to_owned));
        command.push(format!("{base}{path}"));
        let spec = ExecSpec::new(command).within(std::time::Duration::from_hours(1));
        let output = self.platform.engine.exec(&self.node(), &spec).await?;
        if output.code != 0 {
            return Err(unreachable(&base, &String::from_utf8_lossy(&output.stderr)));
        }
        Ok(output.text().parse().unwrap_or_default())
    }

    /// Whether pods reach the registry by its name; says why not.
    pub(super) async fn ask_from_pod(self) -> Result<(), String> {
        let environment = &self.platform.environment;
        let addresses = addresses::of(environment.cluster.service_subnet).map_err(|error| error.to_string())?;
        let dns = addresses.dns.to_string();
        let url = format!("https://{}{}", self.spec.reference_host(), Ping.request().target);
        let spec = ExecSpec::new(["sh", "-c", IN_POD, "sh", &dns, &url, CA_PATH]);
        let output = self.platform.engine.exec(&self.node(), &spec).await;
        let output = output.map_err(|error| error.to_string())?;
        if output.code != 0 {
            return Err(last_line(&output.text()));
        }
        let response = parse(&output.stdout).ok_or("it does not answer as a registry")?;
        Ping.read(&response).map_err(|error| error.to_string())
    }

    /// The repositories that the mirror of a source holds, where that is a program of its own.
    pub(super) async fn mirrored_by(self, source: &Source) -> Result<Vec<Repository>, CliError> {
        let port = self.spec.mirror_port(source);
        let mut names = Vec::new();
        let mut page = Some(Page::First(PAGE));
        while let Some(this) = page.take() {
            let listed = self.ask(port, &Catalog { page: this.clone() }).await?;
            names.extend(listed.items.iter().filter_map(|name| name.parse::<Repository>().ok()));
            page = listed.next.filter(|next| *next != this);
        }
        Ok(names)
    }

    fn base(self, port: u16) -> Result<String, CliError> {
        let subnet = self.platform.environment.cluster.service_subnet;
        let address = addresses::of(subnet).map_err(ClusterError::from)?.registry;
        Ok(format!("https://{address}:{port}"))
    }
}

fn unreachable(base: &str, said: &str) -> CliError {
    CliError::Unreachable {
        url: base.to_owned(),
        reason: last_line(said),
    }
}

fn last_line(text: &str) -> String {
    let line = text.trim().lines().next_back().unwrap_or("it says nothing");
    line.trim_start_matches("curl: ").to_owned()
}

/// Reads what `curl --include` writes: heads of answers that lead on (100, 103) come first and are passed over.
fn parse(bytes: &[u8]) -> Option<Response> {
    let mut rest = bytes;
    loop {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next()?.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse().ok()?;
        if (100..200).contains(&status) {
            continue;
        }
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            headers
                .entry(name.to_ascii_lowercase())
                .and_modify(|all| *all = format!("{all}, {value}"))
                .or_insert_with(|| value.to_owned());
        }
        return Some(Response {
            status,
            headers,
            body: rest.to_vec(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_curl_writes_it() {
        let text = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/2 200 \r\nLink: <a>\r\nlink: <b>\r\ncontent-type: application/json\r\n\r\n{}\r\n\r\n";
        let response = parse(text).unwrap();
        assert_eq!(
            (
                response.status,
                response.headers["link"].as_str(),
                response.body.as_slice()
            ),
            (200, "<a>, <b>", b"{}\r\n\r\n".as_slice())
        );
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 twohundred\r\n\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn of_what_curl_says_the_last_line_counts() {
        assert_eq!(last_line("a\ncurl: (7) Failed to connect\n"), "(7) Failed to connect");
        assert_eq!(last_line(" \n"), "it says nothing");
    }
}
