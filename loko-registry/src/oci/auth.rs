//! Who asks: challenges (`WWW-Authenticate`, RFC 9110 section 11.6.1) and how they are answered
//! (distribution.github.io, "Token Authentication Specification").

use std::fmt;

use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::{anychar, char, none_of, space1};
use nom::combinator::{all_consuming, map, opt, peek, recognize};
use nom::multi::{fold_many0, many1, separated_list0, separated_list1};
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{IResult, Parser as _};
use serde::Deserialize;

use super::error::ProtocolError;
use super::http::{Method, Request, Response, Scope, encode};
use crate::spec::Credentials;

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `basic`, `bearer`, …, in lower case.
    pub scheme: String,
    /// In order, names in lower case.
    pub parameters: Vec<(String, String)>,
}

/// What is sent as `Authorization`. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// RFC 7617.
    Basic(Credentials),
    /// RFC 6750.
    Bearer(String),
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic(credentials) => f.debug_tuple("Basic").field(credentials).finish(),
            Self::Bearer(_) => f.debug_tuple("Bearer").finish_non_exhaustive(),
        }
    }
}

/// What to do about a 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Ask again with this.
    Repeat(Authorization),
    /// Send this, with the credentials where there are any, and ask again with the token in its answer ([`token`]).
    FetchToken(Request),
    /// Nothing that is known helps.
    Give,
}

impl Challenge {
    /// Reads a header's value; `None` where it is not one.
    #[must_use]
    pub fn parse_all(value: &str) -> Option<Vec<Self>> {
        all_consuming(delimited(blank, separated_list0(comma, challenge), blank))
            .parse(value)
            .ok()
            .map(|(_, challenges)| challenges)
    }

    /// A parameter's value.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Decides about a 401. `secure` says whether the registry is spoken to with TLS: a token server without is then not asked.
#[must_use]
pub fn answer(challenges: &[Challenge], credentials: Option<&Credentials>, scope: &Scope, secure: bool) -> Answer {
    let bearer = challenges.iter().find(|challenge| challenge.scheme == "bearer");
    let realm = bearer.and_then(|challenge| challenge.parameter("realm"));
    let trusted = |realm: &&str| realm.starts_with("https://") || (realm.starts_with("http://") && !secure);
    if let Some(realm) = realm.filter(trusted) {
        return Answer::FetchToken(token_request(
            realm,
            bearer.and_then(|it| it.parameter("service")),
            scope,
        ));
    }
    match credentials {
        Some(credentials) if challenges.iter().any(|challenge| challenge.scheme == "basic") => {
            Answer::Repeat(Authorization::Basic(credentials.clone()))
        }
        _ => Answer::Give,
    }
}

fn token_request(realm: &str, service: Option<&str>, scope: &Scope) -> Request {
    let service = service.map(|service| format!("service={}", encode(service)));
    let scopes = scope.words().into_iter().map(|word| format!("scope={}", encode(&word)));
    let query: Vec<_> = service.into_iter().chain(scopes).collect();
    let separator = if realm.contains('?') { '&' } else { '?' };
    let target = if query.is_empty() {
        realm.to_owned()
    } else {
        format!("{realm}{separator}{}", query.join("&"))
    };
    Request::new(Method::Get, target)
}

/// Reads the answer of a token server.
pub fn token(response: &Response) -> Result<Authorization, ProtocolError> {
    #[derive(Deserialize)]
    struct Token {
        token: Option<String>,
        access_token: Option<String>,
    }
    response.expect(200, "hand out a token", "the token server")?;
    let malformed = |reason: String| ProtocolError::Malformed {
        what: "a token",
        reason,
    };
    let token: Token = serde_json::from_slice(&response.body).map_err(|error| malformed(error.to_string()))?;
    let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
    token
        .map(Authorization::Bearer)
        .ok_or_else(|| malformed("it has neither `token` nor `access_token`".to_owned()))
}

fn challenge(input: &str) -> IResult<&str, Challenge> {
    let scheme = map(take_while1(is_token_char), str::to_ascii_lowercase);
    // A token68, such as Negotiate has, says nothing to us.
    let token68 = map(
        terminated(
            recognize((
                take_while1(|c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c)),
                take_while(|c| c == '='),
            )),
            peek(alt((
                map((blank, char(',')), |_| ()),
                map((blank, nom::combinator::eof), |_| ()),
            ))),
        ),
        |_| Vec::new(),
    );
    let parameters = separated_list1(comma, parameter);
    map(
        (scheme, opt(preceded(space1, alt((parameters, token68))))),
        |(scheme, parameters)| Challenge {
            scheme,
            parameters: parameters.unwrap_or_default(),
        },
    )
    .parse(input)
}

fn parameter(input: &str) -> IResult<&str, (String, String)> {
    let name = map(take_while1(is_token_char), str::to_ascii_lowercase);
    let value = alt((quoted_string, map(take_while1(is_token_char), str::to_owned)));
    separated_pair(name, (blank, char('='), blank), value).parse(input)
}

/// A list may have empty members (RFC 9110, section 5.6.1).
fn comma(input: &str) -> IResult<&str, ()> {
    map(many1((blank, char(','), blank)), |_| ()).parse(input)
}

fn blank(input: &str) -> IResult<&str, &str> {
    recognize(take_while(|c| matches!(c, ' ' | '\t'))).parse(input)
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// RFC 9110, section 5.6.4.
pub(super) fn quoted_string(input: &str) -> IResult<&str, String> {
    let character = alt((preceded(char('\\'), anychar), none_of("\"\\")));
    let characters = fold_many0(character, String::new, |mut out, c| {
        out.push(c);
        out
    });
    delimited(char('"'), characters, char('"')).parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        Challenge {
            scheme: scheme.to_owned(),
            parameters: parameters.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }

    #[test]
    fn challenges_are_read() {
        let parse = |value| Challenge::parse_all(value).unwrap();
        assert_eq!(
            parse(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a:pull,push""#
            ),
            [one(
                "bearer",
                &[
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:a:pull,push")
                ]
            )]
        );
        assert_eq!(
            parse(r#"Negotiate, Basic REALM = "a \"b\"", , NTLM TlRM+/==, Digest a=b,c="d", x"#),
            [
                one("negotiate", &[]),
                one("basic", &[("realm", "a \"b\"")]),
                one("ntlm", &[]),
                one("digest", &[("a", "b"), ("c", "d")]),
                one("x", &[]),
            ]
        );
        assert_eq!(parse(""), []);
        for bad in ["Basic realm=\"a", "\"", "Basic realm=\"a\" b"] {
            assert_eq!(Challenge::parse_all(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_is_asked_for_with_what_is_to_be_done() {
        let challenges = Challenge::parse_all(r#"Bearer realm="https://auth/token?x=1",service="a b""#).unwrap();
        let scope = Scope::Push("me/app".parse().unwrap());
        let Answer::FetchToken(request) = answer(&challenges, None, &scope, true) else {
            panic!("a token is fetched");
        };
        assert_eq!(
            request.target,
            "https://auth/token?x=1&service=a%20b&scope=repository%3Ame%2Fapp%3Apull%2Cpush"
        );
    }

    #[test]
    fn no_secret_goes_to_a_token_server_without_tls_on_behalf_of_a_registry_with_it() {
        let challenges = Challenge::parse_all(r#"Bearer realm="http://auth/token""#).unwrap();
        assert_eq!(answer(&challenges, None, &Scope::None, true), Answer::Give);
        assert!(matches!(
            answer(&challenges, None, &Scope::None, false),
            Answer::FetchToken(_)
        ));
    }

    #[test]
    fn basic_needs_a_name() {
        let challenges = Challenge::parse_all("Basic realm=x").unwrap();
        let me = Credentials {
            username: "me".to_owned(),
            password: "pw".to_owned(),
        };
        assert_eq!(answer(&challenges, None, &Scope::None, true), Answer::Give);
        let given = answer(&challenges, Some(&me), &Scope::None, true);
        assert_eq!(given, Answer::Repeat(Authorization::Basic(me)));
        assert!(!format!("{given:?}").contains("pw"));
    }

    #[test]
    fn either_name_of_a_token_is_read() {
        let response = |body: &str| Response {
            status: 200,
            body: body.as_bytes().to_vec(),
            ..Response::default()
        };
        let token = |body| token(&response(body));
        assert_eq!(token(r#"{"token":"a"}"#), Ok(Authorization::Bearer("a".to_owned())));
        assert_eq!(
            token(r#"{"access_token":"b","expires_in":60}"#),
            Ok(Authorization::Bearer("b".to_owned()))
        );
        assert!(token("{}").is_err());
    }
}
