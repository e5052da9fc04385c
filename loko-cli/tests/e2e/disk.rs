//! A disk that has no room left for what LoKO keeps: said, never half written, and gone on from.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::create;
use crate::environment::{Environment, Place};
use crate::run::{Output, Run};
use crate::suite::{self, Suite};
use crate::trouble::{nothing_is_left, small};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "disk",
    tests: &[Test(
        "a_full_one_is_named_and_no_file_is_half_written",
        &["curl", "dig", "mount", "umount"],
        full,
    )],
};

/// What a file of a tmpfs takes at least, and a multiple of which it takes.
const PAGE: usize = 4096;

/// A small disk, in memory; taken away when it is dropped.
#[derive(Debug)]
struct Disk(PathBuf);

impl Disk {
    /// `None` where this user may not mount one.
    fn at(path: PathBuf) -> Option<Self> {
        fs_err::create_dir_all(&path).unwrap();
        let disk = Self(path);
        let mounted = Run::new("mount")
            .words("-t tmpfs -o size=512k tmpfs")
            .args([&disk.0])
            .any();
        (mounted.code == Some(0)).then_some(disk)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves this many pages free, whatever was free before.
    fn leave(&self, pages: usize) {
        let _ = fs_err::remove_file(self.filler());
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        let mut written = 0;
        while filler.write_all(&[b'x'; PAGE]).is_ok() {
            written += PAGE;
        }
        assert!(written > pages * PAGE, "{written} bytes are no disk");
        filler.set_len((written - pages * PAGE).try_into().unwrap()).unwrap();
    }

    fn make_room(&self) {
        fs_err::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Run::new("umount").args(["--lazy".as_ref(), self.0.as_os_str()]).any();
    }
}

/// Files of a home whose creation was begun and not ended.
fn begun(home: &Path) -> Vec<PathBuf> {
    let name = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(".loko-"))
    };
    create::files(home).into_iter().filter(name).collect()
}

/// Contents of every file that LoKO keeps, but locks.
fn kept(home: &Path) -> Vec<(PathBuf, String)> {
    let files = create::files(home).into_iter().filter(|file| !file.ends_with("lock"));
    let text = |file: &PathBuf| {
        let mut text = String::new();
        std::fs::File::open(file).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    files.map(|file| (file.clone(), text(&file))).collect()
}

#[track_caller]
fn assert_names(output: &Output, disk: &Disk) {
    assert_eq!(output.code, Some(1), "{output}");
    output
        .says("loko::disk_full")
        .says(&format!("no space is left on {}", disk.0.display()))
        .says("make room there, or keep LoKO's files elsewhere with LOKO_HOME");
}

fn full(suite: &Suite) {
    let Some(disk) = Disk::at(suite.place.home.join("disk")) else {
        println!("skipped: this user may not mount a disk");
        return;
    };
    let place = Place { home: disk.0.clone() };
    let mut environment: Environment = small(&place, "e2e-full", "full.loko.test", "127.0.0.12", "");
    environment.file = suite.place.home.join("full.yaml");
    environment.write(&environment.yaml);
    let home = place.loko_home();
    let mut before = suite.before.clone();
    before.extend(
        suite::ours()
            .into_iter()
            .filter(|thing| !thing.contains(&environment.name)),
    );

    // The lock needs no room; then the copy of loko.yaml, the authority, the certificate, and what kubeadm made do.
    for pages in [0, 2, 5, 6] {
        disk.leave(pages);
        assert_names(&environment.loko("create").any(), &disk);
        assert_eq!(begun(&home), Vec::<PathBuf>::new(), "with {pages} pages");
        disk.make_room();
        nothing_is_left(&environment, &before);
    }
    environment.loko("create").ok();
    environment.answers();

    let was = kept(&home);
    environment.write(
        &environment
            .yaml
            .replace("port: 8080", "port: 8080, annotations: {example.org/a: b}"),
    );
    disk.leave(0);
    assert_names(&environment.loko("create").any(), &disk);
    assert_eq!(kept(&home), was);
    environment.answers();
    // What needs no room works.
    environment.loko("status").ok();
    disk.make_room();
    environment.loko("create").ok();
    suite.settled(&environment);

    disk.leave(0);
    environment.loko("destroy --yes").ok();
    nothing_is_left(&environment, &before);
    drop(disk);
}
