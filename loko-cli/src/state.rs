//! `$LOKO_HOME`: what is kept on this host, who may read it, and who is at work on it.
//!
//! ```text
//! $LOKO_HOME (0700, default ~/.loko)
//! ├─ ca/{ca.crt, ca.key, lock}        one authority for this machine; the key is 0600 and never copied
//! ├─ catalogue/<name>.yaml            entries of one's own, which add to the catalogue or replace what is in it
//! ├─ current                          the environment chosen with `loko env use`
//! ├─ kubeconfig.lock                  held while the user's kubeconfig is changed
//! └─ environments/<name>/
//!    ├─ loko.yaml                     as it was last applied
//!    ├─ origin                        where that loko.yaml is
//!    ├─ certs/{tls,registry}.{crt,key} of the domain, and of the registry
//!    ├─ kubeconfig                    0600
//!    ├─ secrets.yaml                  0600, of the workloads; made once
//!    └─ lock                          held while the environment is changed
//!
//! /tmp/loko-edge.lock                 held while HAProxy is changed, which all environments of all users and homes share
//! ```

mod kubeconfig;
mod stale;

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::error::CliError;
use crate::find::Source;

/// The directory of everything kept on this host.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: Utf8PathBuf,
}

/// Held while something is changed; given back on drop, and by the kernel when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Home {
    pub(crate) fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Utf8Path {
        &self.root
    }

    pub(crate) fn authority(&self) -> (Utf8PathBuf, Utf8PathBuf) {
        (self.root.join("ca/ca.crt"), self.root.join("ca/ca.key"))
    }

    pub(crate) fn current(&self) -> Utf8PathBuf {
        self.root.join("current")
    }

    pub(crate) fn environments(&self) -> Utf8PathBuf {
        self.root.join("environments")
    }

    pub(crate) fn environment(&self, name: &str) -> Utf8PathBuf {
        self.environments().join(name)
    }

    /// Certificate and key of `of`: `tls` for the domain, `registry`.
    pub(crate) fn leaf(&self, name: &str, of: &str) -> (Utf8PathBuf, Utf8PathBuf) {
        let certs = self.environment(name).join("certs");
        (certs.join(format!("{of}.crt")), certs.join(format!("{of}.key")))
    }

    pub(crate) fn secrets(&self, name: &str) -> Utf8PathBuf {
        self.environment(name).join("secrets.yaml")
    }

    pub(crate) fn kubeconfig(&self, name: &str) -> Utf8PathBuf {
        self.environment(name).join("kubeconfig")
    }

    pub(crate) fn applied(&self, name: &str) -> Utf8PathBuf {
        self.environment(name).join("loko.yaml")
    }

    fn origin(&self, name: &str) -> Utf8PathBuf {
        self.environment(name).join("origin")
    }

    /// Where a loko.yaml came from that is kept here as it was applied; `None` of any other file.
    pub(crate) fn origin_of(&self, file: &Utf8Path) -> Option<Utf8PathBuf> {
        let name = file.parent()?.file_name()?;
        if file != self.applied(name) {
            return None;
        }
        Some(read(&self.origin(name)).ok()??.into())
    }

    /// Keeps the loko.yaml that is applied, and where it is.
    pub(crate) fn remember(&self, name: &str, source: &Source) -> Result<(), CliError> {
        let applied = self.applied(name);
        if source.path == applied {
            return Ok(());
        }
        if let Some(path) = absolute(&source.path) {
            write(&self.origin(name), path.as_str().as_bytes(), false)?;
        }
        write(&applied, &source.bytes, false)
    }

    /// The environment that a loko.yaml was last applied as, where that is another than `name`.
    pub(crate) fn renamed(&self, file: &Utf8Path, name: &str) -> Result<Option<String>, CliError> {
        let Some(path) = absolute(file) else { return Ok(None) };
        for other in self.names() {
            if other != name && read(&self.origin(&other))?.is_some_and(|origin| origin == path.as_str()) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// Names of the environments that have a directory, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.environments()) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// The user's own entries of the catalogue, sorted; none where there is no folder.
    pub(crate) fn entries(&self) -> Result<Vec<Utf8PathBuf>, CliError> {
        let folder = self.root.join("catalogue");
        let listed = match folder.read_dir_utf8() {
            Ok(listed) => listed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(unreadable(&folder, source)),
        };
        let mut paths = Vec::new();
        for entry in listed {
            let path = entry.map_err(|source| unreadable(&folder, source))?.into_path();
            if path.extension() == Some("yaml") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Takes the lock of an environment. `waits` is told who holds it when it is not free.
    pub(crate) fn lock_environment(&self, name: &str, waits: impl FnOnce(&str)) -> Result<Lock, CliError> {
        let lock = lock(&self.environment(name).join("lock"), waits)?;
        for directory in [self.environment(name), self.environment(name).join("certs")] {
            stale::remove(&directory);
        }
        Ok(lock)
    }

    /// Takes the lock of the authority.
    pub(crate) fn lock_authority(&self) -> Result<Lock, CliError> {
        lock(&self.root.join("ca/lock"), |_| {})
    }
}

/// Takes the lock of the edge, which is one for this machine: HAProxy is one for all users and all their homes.
pub(crate) fn lock_edge(waits: impl FnOnce(&str)) -> Result<Lock, CliError> {
    // Not the directory that TMPDIR names: that is another one for each user.
    let directory = if cfg!(unix) {
        Utf8PathBuf::from("/tmp")
    } else {
        Utf8PathBuf::from_path_buf(std::env::temp_dir()).unwrap_or_default()
    };
    lock_shared(&directory.join("loko-edge.lock"), waits)
}

/// A file's path from the root on; `None` where it is no file that keeps its place, as `/dev/stdin`.
fn absolute(file: &Utf8Path) -> Option<Utf8PathBuf> {
    let path = file.canonicalize_utf8().ok()?;
    path.is_file().then_some(path)
}

fn lock(path: &Utf8Path, waits: impl FnOnce(&str)) -> Result<Lock, CliError> {
    lock_opened(path, &private, waits)
}

fn lock_shared(path: &Utf8Path, waits: impl FnOnce(&str)) -> Result<Lock, CliError> {
    lock_opened(path, &shared, waits)
}

/// A file for the user alone, in a directory for the user alone.
fn private(path: &Utf8Path) -> std::io::Result<File> {
    if let Some(parent) = path.parent() {
        make_private(parent)?;
    }
    let mut options = File::options();
    options.create(true).read(true).write(true).truncate(false).open(path)
}

/// A file that every user may lock, in a directory where every user may make files; so one that is no plain file of that one name
/// is not taken.
#[cfg(unix)]
fn shared(path: &Utf8Path) -> std::io::Result<File> {
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let there = |write: bool| File::options().read(true).write(write).custom_flags(flags).open(path);
    let made = || -> std::io::Result<File> {
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .custom_flags(flags)
            .open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o666))?;
        Ok(file)
    };
    // Never made where it is there already: the kernel refuses that for another user's file (proc(5), `protected_regular`).
    let file = match there(true) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => made().or_else(|_| there(true)),
        // To lock it is enough to read it.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => there(false),
        opened => opened,
    }?;
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.nlink() <= 1 {
        Ok(file)
    } else {
        Err(std::io::Error::other("it is not a file that loko made"))
    }
}

#[cfg(not(unix))]
fn shared(path: &Utf8Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).read(true).write(true).truncate(false).open(path)
}

fn lock_opened(
    path: &Utf8Path,
    open: &dyn Fn(&Utf8Path) -> std::io::Result<File>,
    waits: impl FnOnce(&str),
) -> Result<Lock, CliError> {
    let failed = |source: std::io::Error| CliError::file("lock", path, source);
    let mut waits = Some(waits);
    let mut file = loop {
        let mut file = open(path).map_err(failed)?;
        if file.try_lock().is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another loko",
                holder => holder,
            };
            if let Some(waits) = waits.take() {
                waits(holder);
            }
            file.lock().map_err(failed)?;
        }
        // `destroy` removes the file while it holds it: whoever waited has a lock on nothing, and asks again.
        if is_at(&file, path) {
            break file;
        }
    };
    // Who holds it, for the one that waits. A lock whose holder died is free: the kernel gave it back.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let holder = format!("{} (pid {})", command(&words), std::process::id());
    // Where it cannot be written it is held all the same.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(holder.as_bytes()));
    Ok(Lock { _file: file })
}

/// Whether a file that was opened is the one that is found there now.
#[cfg(unix)]
fn is_at(file: &File, path: &Utf8Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: std::io::Result<std::fs::Metadata>| metadata.ok().map(|file| (file.dev(), file.ino()));
    let opened = identity(file.metadata());
    opened.is_some() && opened == identity(fs::metadata(path))
}

/// A file that is open cannot be removed here.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Utf8Path) -> bool {
    true
}

/// `loko create` of `-c a/loko.yaml create --keep`: the words of a command line that are neither options nor their values.
fn command(words: &[String]) -> String {
    const WITH_VALUE: [&str; 9] = [
        "-c", "--config", "-e", "--env", "-o", "--output", "--color", "--home", "--tail",
    ];
    let mut command = "loko".to_owned();
    let mut before = "";
    for word in words {
        if !word.starts_with('-') && !WITH_VALUE.contains(&before) {
            command.push(' ');
            command.push_str(word);
        }
        before = word;
    }
    command
}

/// Makes a directory and those above it, for the user alone where they are new.
pub(crate) fn private_directory(path: &Utf8Path) -> Result<(), CliError> {
    make_private(path).map_err(|source| CliError::file("make", path, source))
}

fn make_private(path: &Utf8Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Where the disk that a path is on, or will be, is mounted: the uppermost directory above it that is on the same one.
#[cfg(unix)]
pub(crate) fn disk_of(path: &Utf8Path) -> Utf8PathBuf {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Utf8Path| Some(fs::metadata(path).ok()?.dev());
    // What a link leads to may be on another one.
    let there = path.ancestors().find_map(|path| path.canonicalize_utf8().ok());
    let there = there.unwrap_or_else(|| Utf8PathBuf::from("/"));
    let own = device(&there);
    let same = there.ancestors().take_while(|above| device(above) == own).last();
    same.map(Utf8Path::to_owned).unwrap_or(there)
}

/// The directory: which disk it is on is not asked here.
#[cfg(not(unix))]
pub(crate) fn disk_of(path: &Utf8Path) -> Utf8PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// Replaces a file as a whole or not at all. `secret`: 0600, else 0644 from birth.
pub(crate) fn write(path: &Utf8Path, contents: &[u8], secret: bool) -> Result<(), CliError> {
    let failed = |source: std::io::Error| CliError::file("write", path, source);
    let parent = path.parent().unwrap_or(Utf8Path::new("."));
    private_directory(parent)?;
    stale::remove(parent);
    let mut builder = tempfile::Builder::new();
    builder.prefix(stale::PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(if secret {
        0o600
    } else {
        0o644
    }));
    let mut file = builder.tempfile_in(parent).map_err(failed)?;
    file.write_all(contents).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Replaces a file of the user's as a whole or not at all; its permissions stay.
pub(crate) fn replace(path: &Utf8Path, contents: &[u8]) -> Result<(), CliError> {
    let failed = |source: std::io::Error| CliError::file("write", path, source);
    // Through a link to the file itself: the link is the user's as well.
    let target = path.canonicalize_utf8().map_err(failed)?;
    let permissions = fs::metadata(&target).map_err(failed)?.permissions();
    let mut file = tempfile::Builder::new()
        .prefix(stale::PREFIX)
        .tempfile_in(target.parent().unwrap_or(Utf8Path::new(".")))
        .map_err(failed)?;
    file.write_all(contents).map_err(failed)?;
    file.as_file().set_permissions(permissions).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The text of a file; `None` where there is none.
pub(crate) fn read(path: &Utf8Path) -> Result<Option<String>, CliError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(unreadable(path, source)),
    }
}

fn unreadable(path: &Utf8Path, source: std::io::Error) -> CliError {
    CliError::File {
        action: "read",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(directory.path().join("loko")).unwrap();
        (directory, Home::new(root))
    }

    #[test]
    #[cfg(unix)]
    fn secrets_are_for_the_user_alone_from_birth() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_guard, home) = home();
        let (_, key) = home.authority();
        write(&key, b"secret", true).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(home.root()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    #[cfg(unix)]
    fn a_full_disk_is_named_with_what_to_do() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = CliError::file("write", Utf8Path::new("/proc/nothing/here"), full());
        assert_eq!(
            error.to_string(),
            "failed to write /proc/nothing/here: no space is left on /proc"
        );
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("df -h /proc") && help.contains("LOKO_HOME"), "{help}");
        assert_eq!(disk_of(Utf8Path::new("/")), "/");
        let other = CliError::file(
            "write",
            Utf8Path::new("/x"),
            std::io::ErrorKind::PermissionDenied.into(),
        );
        assert!(matches!(other, CliError::File { .. }));
    }

    #[test]
    fn a_second_one_is_told_who_holds_the_lock_and_gets_it_when_it_is_free() {
        let (_guard, home) = home();
        let first = home.lock_environment("dev", |_| panic!("it is free")).unwrap();
        let (told, waiting) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            home.lock_environment("dev", |holder| told.send(holder.to_owned()).unwrap())
                .map(drop)
        });
        assert!(waiting.recv().unwrap().contains(&format!("pid {}", std::process::id())));
        drop(first);
        thread.join().unwrap().unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_lock_that_was_removed_is_taken_anew() {
        let (_guard, home) = home();
        let first = home.lock_environment("dev", |_| panic!("it is free")).unwrap();
        let (told, waiting) = std::sync::mpsc::channel();
        let path = home.environment("dev");
        let thread = std::thread::spawn(move || home.lock_environment("dev", |_| told.send(()).unwrap()).unwrap());
        waiting.recv().unwrap();
        fs::remove_dir_all(&path).unwrap();
        drop(first);
        let _second = thread.join().unwrap();
        // Held at the path, so a third one would see it.
        let file = File::open(path.join("lock")).unwrap();
        assert!(file.try_lock().is_err());
    }

    #[test]
    #[cfg(unix)]
    fn the_edge_has_one_lock_for_all_users_and_a_dead_holder_does_not_hold_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_guard, home) = home();
        private_directory(home.root()).unwrap();
        let path = home.root().join("edge.lock");
        let first = lock_shared(&path, |_| panic!("it is free")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        let (told, waiting) = std::sync::mpsc::channel();
        let same = path.clone();
        let thread = std::thread::spawn(move || lock_shared(&same, |holder| told.send(holder.to_owned()).unwrap()));
        assert!(waiting.recv().unwrap().contains(&format!("pid {}", std::process::id())));
        drop(first);
        drop(thread.join().unwrap().unwrap());

        // What somebody who was killed wrote is only a word.
        fs::write(&path, "loko create (pid 1)").unwrap();
        lock_shared(&path, |holder| panic!("{holder} does not hold it")).unwrap();

        // What leads elsewhere is not written to.
        let other = home.root().join("precious");
        fs::write(&other, "kept").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(lock_shared(&path, |_| {}).is_err());
        fs::remove_file(&path).unwrap();
        fs::hard_link(&other, &path).unwrap();
        assert!(lock_shared(&path, |_| {}).is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
    }

    #[test]
    fn the_holder_is_named_by_its_command_alone() {
        let words = [
            "-c",
            "a/loko.yaml",
            "--color=never",
            "env",
            "use",
            "--yes",
            "-o",
            "json",
        ]
        .map(str::to_owned);
        assert_eq!(command(&words), "loko env use");
    }

    #[test]
    fn a_file_that_is_applied_under_another_name_is_known_again() {
        let (guard, home) = home();
        let file = Utf8PathBuf::from_path_buf(guard.path().join("loko.yaml")).unwrap();
        fs::write(&file, "name: a\n").unwrap();
        let source = |path: &Utf8Path| Source {
            path: path.to_owned(),
            bytes: b"name: a\n".to_vec(),
        };
        home.remember("a", &source(&file)).unwrap();
        assert_eq!(home.renamed(&file, "a").unwrap(), None);
        assert_eq!(home.renamed(&file, "b").unwrap().as_deref(), Some("a"));
        // Applied once more by name, it is still that file's.
        home.remember("a", &source(&home.applied("a"))).unwrap();
        assert_eq!(home.renamed(&file, "b").unwrap().as_deref(), Some("a"));
        let other = file.with_file_name("other.yaml");
        fs::write(&other, "name: b\n").unwrap();
        assert_eq!(home.renamed(&other, "b").unwrap(), None);
    }

    #[test]
    fn environments_are_those_that_have_a_directory() {
        let (_guard, home) = home();
        assert!(home.names().is_empty());
        write(&home.applied("b"), b"", false).unwrap();
        write(&home.applied("a"), b"", false).unwrap();
        assert_eq!(home.names(), ["a", "b"]);
        assert_eq!(read(&home.applied("c")).unwrap(), None);
    }
}
