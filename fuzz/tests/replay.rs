//! Every seed of every target, as it is and with fixed mutations.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;
use fuzz::mutate::{Random, mutate};

/// Mutations of each seed. More is for the exploring binary; these guard what was found.
const MUTATIONS: u64 = 200;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_target_has_seeds_and_every_seed_a_target() {
    let folders: BTreeSet<_> = entries(&seeds())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let targets: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders, targets);
    assert!(TARGETS.is_sorted_by_key(|target| target.name));
    for name in targets {
        assert!(!entries(&seeds().join(&name)).is_empty(), "{name} has no seeds");
    }
}

#[test]
fn replay() {
    for target in TARGETS {
        let seeds: Vec<_> = entries(&seeds().join(target.name))
            .iter()
            .map(|path| fs_err::read(path).unwrap())
            .collect();
        for (at, seed) in seeds.iter().enumerate() {
            (target.check)(seed);
            let other = &seeds[(at + 1) % seeds.len()];
            let mut random = Random::new(u64::try_from(at).unwrap() + 1);
            for _ in 0..MUTATIONS {
                let input = mutate(seed, other, &mut random);
                (target.check)(&input);
            }
        }
    }
}
