//! Which environment a command means: `-c`, `-e`, the loko.yaml here or above, the one chosen with `env use`.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use loko_config::{LoadOptions, Loaded, load_bytes};

use crate::args::Global;
use crate::error::CliError;
use crate::host;
use crate::state::{self, Home};

/// Where a loko.yaml was found, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// As messages name it.
    pub(crate) path: Utf8PathBuf,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// The name that every file is looked for under.
const FILE: &str = "loko.yaml";

/// Finds the loko.yaml that a command means.
pub(crate) fn source(global: &Global, home: &Home) -> Result<Source, CliError> {
    if let Some(path) = &global.config {
        return read(path.clone());
    }
    if let Some(name) = &global.env {
        return applied(home, name);
    }
    let here = std::env::current_dir()
        .ok()
        .and_then(|path| Utf8PathBuf::from_path_buf(path).ok())
        .unwrap_or_default();
    if let Some(path) = upwards(&here) {
        return read(path);
    }
    match state::read(&home.current())?
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
    {
        Some(name) => applied(home, &name),
        None => Err(CliError::NoConfiguration { directory: here }),
    }
}

/// The loko.yaml in a directory or the nearest one above it.
fn upwards(directory: &Utf8Path) -> Option<Utf8PathBuf> {
    directory
        .ancestors()
        .map(|directory| directory.join(FILE))
        .find(|path| path.is_file())
}

fn applied(home: &Home, name: &str) -> Result<Source, CliError> {
    let path = home.applied(name);
    // A name is a path here: one that is no name of an environment is not looked for.
    let known = name.parse::<loko_config::names::EnvName>().is_ok() && path.is_file();
    if !known {
        return Err(CliError::NoEnvironment {
            name: name.to_owned(),
            others: home.names(),
        });
    }
    read(path)
}

fn read(path: Utf8PathBuf) -> Result<Source, CliError> {
    match fs_err::read(&path) {
        Ok(bytes) => Ok(Source { path, bytes }),
        Err(source) => Err(CliError::File {
            action: "read",
            path,
            source,
        }),
    }
}

/// Reads and checks a loko.yaml with what this host knows: its variables, the other environments' domains.
pub(crate) fn load(source: &Source, home: &Home, strict: bool) -> Result<Loaded, CliError> {
    Ok(load_bytes(&source.bytes, &options(source, home, strict))?)
}

/// What this host knows, for loading and editing.
pub(crate) fn options(source: &Source, home: &Home, strict: bool) -> LoadOptions {
    LoadOptions {
        file_name: source.path.to_string(),
        environment_variables: std::env::vars().collect(),
        other_domains: other_domains(source, home),
        // A catalogue that cannot be read is said where it is used.
        catalogue: crate::context::catalogue(home).ok().map(|catalogue| catalogue.ports()),
        directory: directory(source, home).map(Utf8PathBuf::into_string),
        strict,
        ..LoadOptions::default()
    }
}

/// Where a loko.yaml is, or where one that was applied was then: relative paths in it start there.
pub(crate) fn directory(source: &Source, home: &Home) -> Option<Utf8PathBuf> {
    let path = home.origin_of(&source.path).unwrap_or_else(|| source.path.clone());
    let whole = path.canonicalize_utf8().unwrap_or(path);
    Some(whole.parent()?.to_owned()).filter(|directory| directory.is_absolute())
}

/// A warning of its own, since only the host can tell.
pub(crate) fn foreign_address(loaded: &Loaded) -> Option<String> {
    let loko_config::model::NetworkIp::Address(address) = loaded.environment.network.ip else {
        return None;
    };
    (!host::has_address(address)).then(|| format!("network.ip {address} is not an address of this host"))
}

/// Domains of all environments but the one that this file was applied as: where its name changes, it replaces that one.
fn other_domains(source: &Source, home: &Home) -> BTreeMap<loko_config::names::EnvName, loko_config::names::Domain> {
    let domain = |name: &String| {
        let text = state::read(&home.applied(name)).ok().flatten()?;
        let loaded = loko_config::load(&text, &LoadOptions::default()).ok()?;
        Some((loaded.environment.name, loaded.environment.network.domain))
    };
    let former = home.renamed(&source.path, "").ok().flatten();
    let names = home.names();
    names
        .iter()
        .filter(|name| Some(*name) != former.as_ref())
        .filter_map(domain)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_above_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(directory.path().canonicalize().unwrap()).unwrap();
        let deep = root.join("a/b");
        fs_err::create_dir_all(&deep).unwrap();
        fs_err::write(root.join("a").join(FILE), "name: a\n").unwrap();
        assert_eq!(upwards(&deep), Some(root.join("a").join(FILE)));
    }

    #[test]
    fn relative_paths_start_where_the_file_was_that_was_applied() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(directory.path().canonicalize().unwrap()).unwrap();
        fs_err::create_dir_all(root.join("shop")).unwrap();
        fs_err::write(root.join("shop").join(FILE), "name: dev\n").unwrap();
        let home = Home::new(root.join("home"));
        let written = read(root.join("shop").join(FILE)).unwrap();
        assert_eq!(super::directory(&written, &home), Some(root.join("shop")));
        home.remember("dev", &written).unwrap();
        let kept = applied(&home, "dev").unwrap();
        assert_eq!(super::directory(&kept, &home), Some(root.join("shop")));
    }

    #[test]
    fn a_name_that_climbs_out_of_the_home_is_no_environment() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(Utf8PathBuf::from_path_buf(directory.path().join("home")).unwrap());
        assert!(matches!(
            applied(&home, "../../etc"),
            Err(CliError::NoEnvironment { .. })
        ));
    }
}
