//! `loko` in a directory and an environment of its own, where no engine answers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A user's directory; removed with the value.
#[derive(Debug)]
pub(crate) struct User {
    directory: tempfile::TempDir,
}

/// What `loko` said, paths of the user's directory written as `~`.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl User {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// Writes a file below the user's directory.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs_err::write(path, text).expect("a file");
    }

    /// Reads a file below the user's directory.
    pub(crate) fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path().join(path)).expect("a file")
    }

    /// Runs `loko` with arguments as a shell would split them.
    pub(crate) fn loko(&self, words: &str) -> Said {
        self.loko_in(".", words)
    }

    /// Runs `loko` in a directory below the user's.
    pub(crate) fn loko_in(&self, directory: &str, words: &str) -> Said {
        self.run(directory, words, &[])
    }

    /// Runs `loko` with variables of the test's.
    pub(crate) fn loko_with(&self, words: &str, variables: &[(&str, &str)]) -> Said {
        self.run(".", words, variables)
    }

    fn run(&self, directory: &str, words: &str, variables: &[(&str, &str)]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_loko"))
            .args(words.split_whitespace())
            .current_dir(self.path().join(directory))
            .env_clear()
            .env("HOME", self.path())
            .env("LOKO_HOME", self.home())
            .env("KUBECONFIG", self.path().join("kubeconfig"))
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .env("PATH", "/nonexistent")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("loko runs");
        let canonical = fs_err::canonicalize(self.path()).expect("the directory is there");
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("loko writes UTF-8");
            let text = text.replace(&*canonical.to_string_lossy(), "~");
            text.replace(&*self.path().to_string_lossy(), "~").trim_end().to_owned()
        };
        Said {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Every file and directory that is there, but those that a test wrote.
    pub(crate) fn made(&self, written: &[&str]) -> Vec<String> {
        let entries = fs_err::read_dir(self.path()).expect("the directory is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| !written.contains(&name.as_str()))
            .collect();
        names.sort();
        names
    }
}

impl Said {
    /// Asserts how it ended.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("{error} in\n{}\n{}", self.stdout, self.stderr),
        }
    }
}
