//! `loko workloads connect`: the client that belongs to a workload, or what to give one.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use loko_cluster::secrets::Secret;
use loko_config::names::WorkloadName;

use super::{Info, info_of};
use crate::args::Format;
use crate::context::Context;
use crate::error::CliError;
use crate::{output, secrets};

/// A program of the user's, ready to be run.
#[derive(Debug, PartialEq, Eq)]
struct Client {
    program: String,
    arguments: Vec<String>,
    /// The password among them: a list of arguments can be read by everybody on the machine.
    environment: BTreeMap<String, String>,
}

/// Clients that take a password from a variable, and the option that has them ask for one instead.
const PASSWORDS: [(&str, &str, Option<&str>); 6] = [
    ("psql", "PGPASSWORD", None),
    ("mysql", "MYSQL_PWD", Some("-p")),
    ("mariadb", "MYSQL_PWD", Some("-p")),
    ("valkey-cli", "REDISCLI_AUTH", None),
    ("redis-cli", "REDISCLI_AUTH", None),
    ("clickhouse", "CLICKHOUSE_PASSWORD", Some("--password")),
];

/// Opens the client on a terminal, where it is installed; else prints how to connect, password and all, ready to be pasted or
/// piped.
pub(super) async fn run(context: &Context, name: &WorkloadName, print: bool) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let info = info_of(context, &platform, name, true)?;
    let is_talk = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if is_talk && !print && context.global.output == Format::Text {
        let all = secrets::read(context, platform.environment.name.as_str())?;
        let password = all.get(name.as_str(), "password").map(Secret::reveal);
        let client = info.connections.get("cli").and_then(|text| client(text, password));
        match client {
            Some(client) if is_installed(&client.program) => return open(&client),
            Some(client) => context.progress.say(&format!(
                "`{}` is not installed here; this is what a client is to be given:",
                client.program
            )),
            None => {}
        }
    }
    let text = how(&info).ok_or_else(|| CliError::Usage {
        message: format!("`{name}` has no way in"),
        help: "give it `http` or `ports` in loko.yaml".to_owned(),
    })?;
    output::formatted(context.global.output, &info.connections, || text);
    Ok(())
}

fn how(info: &Info) -> Option<String> {
    let known = info.connections.get("url").or_else(|| info.connections.values().next());
    known.or_else(|| info.row.addresses.first()).cloned()
}

/// Reads a line for a shell. `None` for what a shell alone can do, or where something is left out.
fn client(text: &str, password: Option<&str>) -> Option<Client> {
    if text.contains(['|', ';', '$', '`', '>', '<', '…', '\\']) {
        return None;
    }
    let mut environment = BTreeMap::new();
    let mut words = words(text)?.into_iter().peekable();
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        if !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            break;
        }
        environment.insert(name.to_owned(), value.to_owned());
        words.next();
    }
    let program = words.next()?;
    let mut arguments: Vec<String> = words.collect();
    let known = PASSWORDS.iter().find(|(name, ..)| *name == program);
    if let (Some((_, variable, asks)), Some(password)) = (known, password) {
        environment.insert((*variable).to_owned(), password.to_owned());
        arguments.retain(|argument| Some(argument.as_str()) != *asks);
    }
    Some(Client {
        program,
        arguments,
        environment,
    })
}

/// Splits at blanks, but for those between quotes.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match (letter, quote) {
            (_, Some(end)) if letter == end => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            (_, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Becomes the client, so that the terminal and its signals are its own.
fn open(client: &Client) -> Result<(), CliError> {
    let mut command = std::process::Command::new(&client.program);
    command.args(&client.arguments).envs(&client.environment);
    #[cfg(unix)]
    let failed = Some(std::os::unix::process::CommandExt::exec(&mut command));
    #[cfg(not(unix))]
    let failed = command.status().err();
    match failed {
        None => Ok(()),
        Some(source) => Err(CliError::File {
            action: "run",
            path: client.program.clone().into(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_by_a_variable_and_never_by_an_argument() {
        let mariadb = client("mariadb -h db.shop.test -P 3306 -u app -p app", Some("s3cret")).unwrap();
        assert_eq!(mariadb.program, "mariadb");
        assert_eq!(
            mariadb.arguments,
            ["-h", "db.shop.test", "-P", "3306", "-u", "app", "app"]
        );
        assert_eq!(mariadb.environment["MYSQL_PWD"], "s3cret");
        let without = client("mariadb -h db.shop.test -p", None).unwrap();
        assert_eq!(without.arguments.last().map(String::as_str), Some("-p"));
        assert!(without.environment.is_empty());
    }

    #[test]
    fn variables_and_quotes_are_read_as_a_shell_does() {
        let aws = client("AWS_ACCESS_KEY_ID=test aws --query 'a b' s3", None).unwrap();
        assert_eq!(aws.program, "aws");
        assert_eq!(aws.arguments, ["--query", "a b", "s3"]);
        assert_eq!(aws.environment["AWS_ACCESS_KEY_ID"], "test");
        for shell in ["printf a | nc b 1", "a -P … b", "a 'b", ""] {
            assert_eq!(client(shell, None), None, "{shell}");
        }
    }
}
