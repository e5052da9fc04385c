//! `loko destroy`, and that nothing is left of what it should remove and all of what it should not.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::run::Run;
use crate::suite::{self, OTHER, Suite};
use crate::{Test, Topic, create};

pub(crate) const TOPIC: Topic = Topic {
    name: "destroy",
    tests: &[
        Test("without_a_terminal_it_wants_a_yes", &[], wants_a_yes),
        Test("leaves_nothing_of_ours_and_all_of_others", &[], leaves_nothing),
    ],
};

fn wants_a_yes(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let refused = quick.loko("destroy").ends_with(1);
    refused.says("--yes").says(&quick.name);
    assert!(!suite::containers_of(&quick.name).is_empty());
}

fn leaves_nothing(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    Run::new("docker")
        .words("run --detach --label dev.loko.test=e2e --name")
        .args([OTHER, "testbed/tools:1", "sleep", "infinity"])
        .ok();
    // Nodes have a volume without a name, that goes with them.
    let volumes: Vec<String> = suite::inspect(&quick.name)
        .values()
        .flat_map(|container| container["Mounts"].as_array().cloned().unwrap_or_default())
        .filter_map(|mount| mount["Name"].as_str().map(str::to_owned))
        .collect();
    assert!(!volumes.is_empty());

    // It goes last: what all environments share goes with it, where nobody else has one.
    for environment in suite.environments() {
        if environment.name != quick.name && !suite::containers_of(&environment.name).is_empty() {
            environment.loko("destroy --yes --purge").ok();
        }
    }
    let destroyed = quick.loko("destroy --yes").ok();
    destroyed.says(&format!("{} is gone", quick.name));

    let left: BTreeSet<String> = suite::ours().difference(&suite.before).cloned().collect();
    let all = suite.environments();
    let names: Vec<String> = all
        .iter()
        .map(|environment| format!("loko-{}", environment.name))
        .collect();
    let ours = |thing: &&String| suite.is_alone() || names.iter().any(|name| thing.contains(name));
    assert_eq!(left.iter().filter(ours).collect::<Vec<_>>(), Vec::<&String>::new());
    let listed = Run::new("docker").words("volume ls --quiet").ok();
    for volume in volumes {
        // The one of the edge is shared, and was looked at above.
        let shared = volume == "loko-edge";
        assert!(
            shared || !listed.stdout.lines().any(|line| line == volume),
            "{volume} is left"
        );
    }
    assert!(!quick.state().exists());
    for file in create::files(&quick.place.home) {
        let text = fs_err::read_to_string(&file).unwrap_or_default();
        let mentions = text.contains(&quick.cluster()) || text.contains(&format!("*.{}", quick.domain));
        assert!(!mentions, "{} speaks of {}:\n{text}", file.display(), quick.name);
    }
    // Where a host is told of names, by whichever resolver it has.
    let hosts = Path::new("/etc/hosts").to_owned();
    let resolvers = ["/etc/resolver", "/etc/systemd", "/etc/NetworkManager", "/run/systemd"];
    let told = resolvers
        .into_iter()
        .flat_map(|directory| create::files(Path::new(directory)));
    for file in told.chain([hosts]) {
        let text = fs_err::read_to_string(&file).unwrap_or_default();
        assert!(
            !text.contains(&quick.domain),
            "{} speaks of {}",
            file.display(),
            quick.domain
        );
    }
    for port in [80, 443, 6379] {
        let address = (quick.address.as_str(), port);
        assert!(TcpStream::connect(address).is_err(), "something listens on {address:?}");
        drop(TcpListener::bind(address).unwrap());
    }
    let other = Run::new("docker")
        .words("container inspect --format {{.State.Running}}")
        .args([OTHER])
        .ok();
    assert_eq!(other.text(), "true");
    Run::new("docker").words("rm --force --volumes").args([OTHER]).ok();
    // Again, and of something that was never there.
    quick.loko("destroy --yes").ok().says("nothing was there");
}
