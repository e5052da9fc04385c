//! Which names are names of secrets.

use crate::read::near;

/// Anywhere in a name: `PGPASSWORD`, `clientSecret`, `refresh-token`.
const STEMS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "privatekey",
    "accesskey",
];

/// One whole word of a name: `api-key`, `MYSQL_PWD`, `basicAuth`.
const WORDS: &[&str] = &[
    "pass",
    "pwd",
    "pw",
    "key",
    "keys",
    "auth",
    "authorization",
    "bearer",
    "cred",
    "creds",
    "cookie",
    "dsn",
    "psk",
    "salt",
];

/// Meant by a word that is misspelt.
const NEAR: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "secrets",
    "token",
    "tokens",
    "credentials",
];

/// Whether what is named `name` is a secret, perhaps misspelt: `pasword`, `clientSecert`.
pub(super) fn secret(name: &str) -> bool {
    let words = words(name);
    let joined = words.concat();
    let misspelt = |word: &str| word.len() >= 4 && near(word, NEAR.iter().copied()).is_some();
    STEMS.iter().any(|stem| joined.contains(stem))
        || words
            .iter()
            .any(|word| WORDS.contains(&word.as_str()) || misspelt(word))
        || misspelt(&joined)
}

/// Whether `name` holds environment variables or files of any name: `env`, `extraEnv`, `files`, `enviroment`.
pub(super) fn holder(name: &str) -> bool {
    let words = words(name);
    let known = ["env", "envs", "environment", "files"];
    words.iter().any(|word| known.contains(&word.as_str())) || (name.len() >= 3 && near(name, known).is_some())
}

/// The words of `fooBar`, `foo-bar` and `FOO_BAR`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (lower && c.is_uppercase()) {
            words.push(String::new());
        }
        lower = c.is_lowercase();
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Field as _;
    use crate::shape::Shape;

    #[test]
    fn secrets_and_what_is_nearly_one() {
        for name in [
            "password",
            "pasword",
            "Passwrod",
            "pssword",
            "PGPASSWORD",
            "tokne",
            "clientSecret",
            "client_secert",
            "api-key",
            "MYSQL_PWD",
            "basicAuth",
            "credetials",
            "--token",
            "spring.datasource.password",
        ] {
            assert!(secret(name), "{name}");
        }
        for name in [
            "path", "ports", "server", "storage", "sources", "services", "select", "class", "monkey", "author",
        ] {
            assert!(!secret(name), "{name}");
        }
        for name in ["env", "evn", "extraEnv", "enviroment", "files"] {
            assert!(holder(name), "{name}");
        }
    }

    fn keys(shape: &Shape, out: &mut Vec<&'static str>) {
        match shape {
            Shape::Map { keys: own, .. } => {
                for key in own {
                    out.push(key.key);
                    keys(&key.shape, out);
                }
            }
            Shape::List(item) => keys(item, out),
            Shape::Dict { value, .. } => keys(value, out),
            Shape::Either(one, other) => {
                keys(one, out);
                keys(other, out);
            }
            Shape::Scalar { .. } | Shape::Free { .. } => {}
        }
    }

    /// Whoever adds a key that holds a secret, or one that only sounds so, decides here.
    #[test]
    fn of_our_own_keys_these_are_hidden() {
        let mut all = Vec::new();
        keys(&crate::raw::RawFile::shape(), &mut all);
        let of = |rule: fn(&str) -> bool| {
            let mut found: Vec<_> = all.iter().copied().filter(|key| rule(key)).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        assert_eq!(of(secret), ["credentials", "password"]);
        assert_eq!(of(holder), ["env", "envFrom", "files"]);
    }
}
