//! Reads back what [`crate::render`] writes, and any dnsmasq.conf or hosts file as a list of lines.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU16;

use loko_config::names::{Domain, EnvName, HostName};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_till1, take_while1};
use nom::character::complete::{char, space0, space1};
use nom::combinator::{map, opt, rest};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{IResult, Parser};

use crate::error::ParseError;
use crate::render::{BOTH, FOUND, Listen, Names};
use crate::zone::Zone;

/// One line of a dnsmasq.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'a> {
    /// Nothing but blanks.
    Blank,
    /// What follows `#`, without blanks around it.
    Comment(&'a str),
    /// `option` or `option=value`, without a comment after it.
    Option {
        /// Long name of the option, as on dnsmasq's command line without `--`.
        name: &'a str,
        /// What follows `=`.
        value: Option<&'a str>,
    },
}

/// Reads one line of a dnsmasq.conf: blank, comment, `option`, or `option=value`. A `#` starts a comment at the start of
/// a line or after a blank (`option.c`, `read_file`): the port in `server=/a.b/127.0.0.1#5453` is none.
pub fn line(text: &str) -> Result<Line<'_>, ParseError> {
    fn comment(input: &str) -> IResult<&str, &str> {
        preceded(char('#'), rest).parse(input)
    }
    fn option(input: &str) -> IResult<&str, Line<'_>> {
        let name = take_while1(|c: char| c.is_ascii_alphanumeric() || c == '-');
        let (input, name) = terminated(name, space0).parse(input)?;
        let (input, value) = opt(preceded((char('='), space0), rest)).parse(input)?;
        let value = value.map(|value| without_comment(value).trim_end());
        let (input, ()) = map(alt((comment, tag(""))), drop).parse(input)?;
        Ok((input, Line::Option { name, value }))
    }
    let text = text.trim();
    if text.is_empty() {
        return Ok(Line::Blank);
    }
    let result: IResult<&str, Line<'_>> = alt((map(comment, |text| Line::Comment(text.trim())), option)).parse(text);
    match result {
        Ok(("", line)) => Ok(line),
        _ => Err(ParseError::Line { line: text.to_owned() }),
    }
}

fn without_comment(value: &str) -> &str {
    let cut = value.match_indices('#').find(|(at, _)| {
        let before = value[..*at].chars().next_back();
        before.is_none_or(char::is_whitespace)
    });
    cut.map_or(value, |(at, _)| &value[..at])
}

/// Reads a `dnsmasq.conf` that [`crate::render::conf`] wrote. The zone has no hosts: they are in files of their own.
pub fn conf(text: &str) -> Result<(Zone, Listen), ParseError> {
    let mut environment = None;
    let mut address = None;
    let mut port = None;
    let mut domain = None;
    let mut wildcard = false;
    let mut listen = Listen::Everywhere;
    for text in text.lines() {
        match line(text)? {
            Line::Blank => {}
            Line::Comment(comment) => {
                if let Some((key, value)) = comment.split_once(": ") {
                    match key {
                        "environment" => environment = Some(field::<EnvName>("environment", value)?),
                        "address" => address = Some(field::<IpAddr>("address", value)?),
                        _ => {}
                    }
                }
            }
            Line::Option { name, value } => match (name, value) {
                ("port", Some(value)) => port = Some(field::<NonZeroU16>("port", value)?),
                ("local", Some(value)) => domain = Some(local(value)?),
                ("address", Some(_)) => wildcard = true,
                ("listen-address", Some(_)) => listen = Listen::Address,
                _ => {}
            },
        }
    }
    let missing = |option: &'static str| ParseError::Missing { option };
    let zone = Zone {
        environment: environment.ok_or_else(|| missing("# environment"))?,
        domain: domain.ok_or_else(|| missing("local"))?,
        address: address.ok_or_else(|| missing("# address"))?,
        wildcard,
        hosts: BTreeSet::new(),
        port: port.ok_or_else(|| missing("port"))?,
    };
    Ok((zone, listen))
}

fn field<T: std::str::FromStr>(option: &'static str, value: &str) -> Result<T, ParseError> {
    value.parse().map_err(|_| ParseError::Value {
        option,
        value: value.to_owned(),
    })
}

fn local(value: &str) -> Result<Domain, ParseError> {
    let result: IResult<&str, &str> = delimited(char('/'), take_till1(|c| c == '/'), char('/')).parse(value);
    match result {
        Ok(("", domain)) => field("local", domain),
        _ => Err(ParseError::Value {
            option: "local",
            value: value.to_owned(),
        }),
    }
}

/// One line of a hosts file: an address and its names; `None` for a blank line, a comment, or what is neither.
/// Names are as written, whatever they are (hosts(5)).
#[must_use]
pub fn hosts_line(text: &str) -> Option<(IpAddr, Vec<&str>)> {
    fn word(input: &str) -> IResult<&str, &str> {
        take_till1(|c: char| c.is_whitespace() || c == '#').parse(input)
    }
    fn entry(input: &str) -> IResult<&str, (&str, Vec<&str>)> {
        let names = separated_list1(space1, word);
        let comment = opt(preceded(char('#'), take_till(|_| false)));
        delimited(space0, separated_pair(word, space1, names), (space0, comment)).parse(input)
    }
    let (_, (address, names)) = entry(text.trim_end()).ok()?;
    Some((address.parse().ok()?, names))
}

/// The names of a hosts file that [`crate::render::hosts`] wrote, by who knows them, whatever their address; what is no host name
/// is left out.
#[must_use]
pub fn names(text: &str) -> Names {
    let mut names = Names::default();
    for line in text.lines() {
        let Some((_, found)) = hosts_line(line) else { continue };
        let comment = line.split_once('#').map_or("", |(_, comment)| comment.trim());
        let found: Vec<HostName> = found.into_iter().filter_map(|name| name.parse().ok()).collect();
        if comment != FOUND {
            names.zone.extend(found.iter().cloned());
        }
        if [FOUND, BOTH].contains(&comment) {
            names.cluster.extend(found);
        }
    }
    names
}

/// The names of any hosts file, as [`names`] reads them.
#[must_use]
pub fn hosts(text: &str) -> BTreeSet<HostName> {
    names(text).all()
}

#[cfg(test)]
mod tests;
