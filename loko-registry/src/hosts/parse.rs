//! Reads `hosts.toml`: as much of TOML 1.0 as containerd's files use. Keys and tables that containerd does not know, and the few
//! that are not modelled (`client`, `header`), are passed over, as containerd passes over what it does not know.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while_m_n, take_while1};
use nom::character::complete::{char, none_of, one_of};
use nom::combinator::{map, opt, value};
use nom::multi::{fold_many0, many0, separated_list1};
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{Finish as _, IResult, Parser as _};

use super::{Capability, Host, HostsFile, Settings};

/// Arrays and tables in arrays nest no deeper.
const MAX_DEPTH: usize = 8;

/// Why a text is no `hosts.toml`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It is no TOML.
    #[error("line {line} is not TOML: `{text}`")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// The beginning of the rest of that line.
        text: String,
    },
    /// A key has a value that it cannot have.
    #[error("`{key}` is {found}; it takes {wanted}")]
    Value {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        wanted: &'static str,
    },
    /// A table or key is there twice.
    #[error("`{key}` is there twice")]
    Twice {
        /// The key, or the table's name.
        key: String,
    },
}

/// Reads a file.
pub fn parse(text: &str) -> Result<HostsFile, ParseError> {
    let (rest, items) = document(text)
        .finish()
        .map_err(|error: nom::error::Error<&str>| syntax(text, error.input))?;
    if !rest.is_empty() {
        return Err(syntax(text, rest));
    }
    let mut file = HostsFile::default();
    let mut table = Table::Root;
    let mut seen = std::collections::BTreeSet::new();
    for item in items {
        match item {
            Item::Table(name) => {
                if !seen.insert(name.clone()) {
                    return Err(ParseError::Twice { key: name.join(".") });
                }
                table = match name.as_slice() {
                    [first, url] if first == "host" => {
                        file.hosts.push(Host {
                            url: url.clone(),
                            settings: Settings::default(),
                        });
                        Table::Host
                    }
                    _ => Table::Unknown,
                };
            }
            Item::Pair(keys, value) => {
                let [key] = keys.as_slice() else { continue };
                match table {
                    Table::Root if key == "server" => set(key, &mut file.server, value.text(key)?)?,
                    Table::Root => file.server_settings.set(key, &value)?,
                    Table::Host => {
                        if let Some(host) = file.hosts.last_mut() {
                            host.settings.set(key, &value)?;
                        }
                    }
                    Table::Unknown => {}
                }
            }
        }
    }
    Ok(file)
}

enum Table {
    Root,
    Host,
    Unknown,
}

enum Item {
    Table(Vec<String>),
    Pair(Vec<String>, Value),
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Bool(bool),
    Array(Vec<Self>),
    /// Numbers, dates and inline tables, none of which is modelled.
    Other(String),
}

impl Value {
    fn wrong(&self, key: &str, wanted: &'static str) -> ParseError {
        let found = match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Bool(value) => value.to_string(),
            Self::Array(_) => "a list".to_owned(),
            Self::Other(text) => text.clone(),
        };
        ParseError::Value {
            key: key.to_owned(),
            found,
            wanted,
        }
    }

    fn text(&self, key: &str) -> Result<String, ParseError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Bool(_) | Self::Array(_) | Self::Other(_) => Err(self.wrong(key, "a string")),
        }
    }

    fn boolean(&self, key: &str) -> Result<bool, ParseError> {
        match self {
            Self::Bool(value) => Ok(*value),
            Self::Text(_) | Self::Array(_) | Self::Other(_) => Err(self.wrong(key, "true or false")),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<String>, ParseError> {
        match self {
            Self::Text(text) => Ok(vec![text.clone()]),
            Self::Array(items) => items.iter().map(|item| item.text(key)).collect(),
            Self::Bool(_) | Self::Other(_) => Err(self.wrong(key, "a string or a list of strings")),
        }
    }
}

impl Settings {
    fn set(&mut self, key: &str, value: &Value) -> Result<(), ParseError> {
        match key {
            "capabilities" => {
                for word in value.texts(key)? {
                    let capability = Capability::of(&word)
                        .ok_or_else(|| Value::Text(word.clone()).wrong(key, "pull, resolve, push, referrers"))?;
                    self.capabilities.insert(capability);
                }
            }
            "ca" => self.ca = value.texts(key)?,
            "skip_verify" => set(key, &mut self.skip_verify, value.boolean(key)?)?,
            "override_path" => self.override_path = value.boolean(key)?,
            "dial_timeout" => set(key, &mut self.dial_timeout, value.text(key)?)?,
            _ => {}
        }
        Ok(())
    }
}

fn set<T>(key: &str, slot: &mut Option<T>, value: T) -> Result<(), ParseError> {
    match slot.replace(value) {
        Some(_) => Err(ParseError::Twice { key: key.to_owned() }),
        None => Ok(()),
    }
}

fn syntax(whole: &str, rest: &str) -> ParseError {
    let before = &whole[..whole.len() - rest.len()];
    ParseError::Syntax {
        line: before.matches('\n').count() + 1,
        text: rest.lines().next().unwrap_or_default().chars().take(60).collect(),
    }
}

fn document(input: &str) -> IResult<&str, Vec<Item>> {
    let item = alt((
        map(delimited((char('['), space), name, (space, char(']'))), Item::Table),
        map(
            separated_pair(name, (space, char('='), space), |i| toml_value(i, 0)),
            |(key, value)| Item::Pair(key, value),
        ),
    ));
    let line_end = (space, opt(comment), alt((tag("\n"), tag("\r\n"), nom::combinator::eof)));
    preceded(blank, many0(terminated(item, (line_end, blank)))).parse(input)
}

/// Spaces and tabs.
fn space(input: &str) -> IResult<&str, ()> {
    value((), take_while(|c| matches!(c, ' ' | '\t'))).parse(input)
}

fn comment(input: &str) -> IResult<&str, ()> {
    value((), preceded(char('#'), take_while(|c| c != '\n'))).parse(input)
}

/// Whitespace, line ends and comments.
fn blank(input: &str) -> IResult<&str, ()> {
    value(
        (),
        many0(alt((
            value((), take_while1(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))),
            comment,
        ))),
    )
    .parse(input)
}

/// A dotted key.
fn name(input: &str) -> IResult<&str, Vec<String>> {
    let bare = map(
        take_while1(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')),
        str::to_owned,
    );
    separated_list1((space, char('.'), space), alt((bare, text))).parse(input)
}

fn toml_value(input: &str, depth: usize) -> IResult<&str, Value> {
    if depth > MAX_DEPTH {
        return Err(nom::Err::Failure(nom::error::Error::new(
            input,
            nom::error::ErrorKind::TooLarge,
        )));
    }
    alt((
        map(text, Value::Text),
        value(Value::Bool(true), tag("true")),
        value(Value::Bool(false), tag("false")),
        map(|i| array(i, depth), Value::Array),
        map(|i| inline_table(i, depth), |()| Value::Other("a table".to_owned())),
        map(
            take_while1(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | ':' | '_')),
            |word: &str| Value::Other(word.to_owned()),
        ),
    ))
    .parse(input)
}

fn array(input: &str, depth: usize) -> IResult<&str, Vec<Value>> {
    let items = many0(terminated(|i| toml_value(i, depth + 1), (blank, opt(char(',')), blank)));
    delimited((char('['), blank), items, char(']')).parse(input)
}

fn inline_table(input: &str, depth: usize) -> IResult<&str, ()> {
    let pair = separated_pair(name, (space, char('='), space), |i| toml_value(i, depth + 1));
    let pairs = many0(terminated(pair, (space, opt(char(',')), space)));
    value((), delimited((char('{'), space), pairs, char('}'))).parse(input)
}

/// A basic or a literal string, each on one line.
fn text(input: &str) -> IResult<&str, String> {
    let literal = map(
        delimited(char('\''), take_while(|c| !matches!(c, '\'' | '\n')), char('\'')),
        str::to_owned,
    );
    let characters = fold_many0(
        alt((preceded(char('\\'), escape), none_of("\"\\\n"))),
        String::new,
        |mut out, c| {
            out.push(c);
            out
        },
    );
    alt((delimited(char('"'), characters, char('"')), literal)).parse(input)
}

fn escape(input: &str) -> IResult<&str, char> {
    let code = |length: usize| {
        nom::combinator::map_opt(
            take_while_m_n(length, length, |c: char| c.is_ascii_hexdigit()),
            |digits| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32),
        )
    };
    alt((
        preceded(char('u'), code(4)),
        preceded(char('U'), code(8)),
        map(one_of("btnfre\"\\"), |c| match c {
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            'e' => '\u{1b}',
            other => other,
        }),
    ))
    .parse(input)
}
