//! The user's kubeconfig, which all environments of a home write into.

use camino::Utf8Path;

use super::{Home, lock, read, write};
use crate::error::CliError;

impl Home {
    /// Rewrites the user's kubeconfig, which environments share: `edit` is given what is in it, and gives what is to be, where
    /// that differs. Returns whether it was written. A link stays one.
    pub(crate) fn edit_kubeconfig(
        &self,
        path: &Utf8Path,
        edit: impl FnOnce(&str) -> Result<Option<String>, CliError>,
    ) -> Result<bool, CliError> {
        let _lock = lock(&self.root.join("kubeconfig.lock"), |_| {})?;
        let theirs = read(path)?.unwrap_or_default();
        let Some(text) = edit(&theirs)? else { return Ok(false) };
        let target = path.canonicalize_utf8();
        write(target.as_deref().unwrap_or(path), text.as_bytes(), true)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;
    use fs_err as fs;

    use super::*;

    #[test]
    #[cfg(unix)]
    fn the_kubeconfig_is_changed_by_one_at_a_time_and_stays_a_link() {
        let guard = tempfile::tempdir().unwrap();
        let directory = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        let home = Home::new(directory.join("home"));
        let (file, link) = (directory.join("elsewhere"), directory.join("config"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::thread::scope(|scope| {
            for letter in ["a", "b", "c", "d", "e", "f", "g", "h"] {
                let (home, link) = (&home, &link);
                let add = move |theirs: &str| Ok(Some(format!("{theirs}{letter}")));
                scope.spawn(move || assert!(home.edit_kubeconfig(link, add).unwrap()));
            }
        });
        let mut letters: Vec<char> = fs::read_to_string(&file).unwrap().chars().collect();
        letters.sort_unstable();
        assert_eq!(letters, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(!home.edit_kubeconfig(&link, |_| Ok(None)).unwrap());
    }
}
