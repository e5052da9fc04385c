//! What is done to the host, as data: printed, run here, or run by a shell as root.

use std::fmt;

use serde::Serialize;

/// One thing to do. Each leaves the same behind when it is done twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// Replace a file as a whole, and atomically where the file system can. Directories on the way are made, 0755.
    /// A file that is there keeps its permissions; a new one has 0644.
    Write {
        /// Absolute path.
        path: String,
        /// What will be in it.
        contents: String,
    },
    /// Remove a file; nothing happens where there is none.
    Remove {
        /// Absolute path.
        path: String,
    },
    /// Run a program and fail where it fails.
    Run {
        /// Program and arguments.
        command: Vec<String>,
    },
}

impl Action {
    /// A program with arguments.
    #[must_use]
    pub fn run<const N: usize>(command: [&str; N]) -> Self {
        Self::Run {
            command: command.map(str::to_owned).to_vec(),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, .. } => write!(f, "write {path}"),
            Self::Remove { path } => write!(f, "remove {path}"),
            Self::Run { command } => f.write_str(&command.join(" ")),
        }
    }
}

/// The same actions as a POSIX shell script, which stops at the first failure: what a person can run as root, and what
/// is handed to `sudo sh -c`.
#[must_use]
pub fn script(actions: &[Action]) -> String {
    use fmt::Write as _;
    let mut text = String::from("set -eu\numask 022\n");
    for action in actions {
        let _ = match action {
            Action::Write { path, contents } => {
                let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
                // Into the file itself where it cannot be renamed over, as a mounted /etc/hosts.
                let (target, next) = (quote(path), quote(&format!("{path}.loko-new")));
                writeln!(
                    text,
                    "mkdir -p {}\nprintf %s {} > {next}\n[ ! -e {target} ] || chmod --reference={target} {next} 2>/dev/null || :\nmv -f {next} {target} 2>/dev/null || {{ cat {next} > {target}; rm -f {next}; }}",
                    quote(directory),
                    quote(contents),
                )
            }
            Action::Remove { path } => writeln!(text, "rm -f {}", quote(path)),
            Action::Run { command } => {
                let words: Vec<String> = command.iter().map(|word| quote(word)).collect();
                writeln!(text, "{}", words.join(" "))
            }
        };
    }
    text
}

/// One word of a POSIX shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (word, quoted) in [
            ("resolvectl", "resolvectl"),
            ("~dev.me", "'~dev.me'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn a_script_does_what_the_actions_say() {
        insta::assert_snapshot!(script(&[
            Action::Write {
                path: "/etc/a b/c".into(),
                contents: "line's\n".into(),
            },
            Action::Remove { path: "/etc/d".into() },
            Action::run(["resolvectl", "domain", "x", "~dev.me"]),
        ]));
    }
}
