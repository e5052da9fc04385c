//! Halves of files whose writer was killed: a file is written beside its place and moved there, so a SIGKILL between the two
//! leaves the half, which may hold a secret.

use std::time::{Duration, SystemTime};

use camino::{Utf8DirEntry, Utf8Path};
use fs_err as fs;

/// Names of halves start so, and go on with [`RANDOM`] letters and digits.
pub(super) const PREFIX: &str = ".loko-";
/// The tempfile crate's number of random characters.
const RANDOM: usize = 6;
/// A write takes milliseconds. What is younger may be one that runs.
const AGE: Duration = Duration::from_mins(1);

/// Removes those of `directory`. Where one stays, nothing is lost but room.
pub(super) fn remove(directory: &Utf8Path) {
    let Ok(entries) = directory.read_dir_utf8() else { return };
    for entry in entries
        .flatten()
        .filter(|entry| is_half(entry.file_name()) && is_old(entry))
    {
        if let Err(error) = fs::remove_file(entry.path()) {
            tracing::debug!(%error, "a stale file stays");
        }
    }
}

fn is_half(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == RANDOM && rest.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn is_old(entry: &Utf8DirEntry) -> bool {
    let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file);
    let written = metadata.and_then(|file| file.modified().ok());
    written.is_some_and(|written| SystemTime::now().duration_since(written).is_ok_and(|age| age > AGE))
}

#[cfg(test)]
mod tests {
    use super::super::{Home, write};
    use super::*;

    #[test]
    fn what_a_killed_write_left_goes_with_the_next_one_and_nothing_else_does() {
        let guard = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(guard.path()).unwrap();
        let home = Home::new(root);
        let state = home.environment("dev");
        fs::create_dir_all(state.join("certs")).unwrap();
        let old = SystemTime::now() - 2 * AGE;
        let put = |name: &str, age: Option<SystemTime>| {
            fs::write(state.join(name), "half").unwrap();
            if let Some(age) = age {
                let file = fs::OpenOptions::new().write(true).open(state.join(name)).unwrap();
                file.file().set_modified(age).unwrap();
            }
        };
        // As the writer itself names them: a half that is kept as if its writer had died.
        let half = tempfile::Builder::new().prefix(PREFIX).tempfile_in(&state).unwrap();
        half.as_file().set_modified(old).unwrap();
        let half = half.into_temp_path().keep().unwrap();
        put("certs/.loko-a1B2c3", Some(old));
        for (name, age) in [
            (".loko-a1B2c3", None),
            (".loko-notes-of-mine", Some(old)),
            ("loko.yaml", Some(old)),
        ] {
            put(name, age);
        }
        drop(home.lock_environment("dev", |_| {}).unwrap());
        assert!(!half.exists());
        let kept = |directory: &Utf8Path| {
            let listed = directory
                .read_dir_utf8()
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_owned());
            let mut names: Vec<String> = listed.collect();
            names.sort();
            names
        };
        assert_eq!(
            kept(&state),
            [".loko-a1B2c3", ".loko-notes-of-mine", "certs", "lock", "loko.yaml"]
        );
        assert!(kept(&state.join("certs")).is_empty());

        put(".loko-a1B2c3", Some(old));
        write(&state.join("kubeconfig"), b"whole", true).unwrap();
        assert!(!kept(&state).contains(&".loko-a1B2c3".to_owned()));
    }
}
