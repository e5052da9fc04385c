//! What must be done so that a zone is served: facts in, plan out.

use std::collections::{BTreeMap, BTreeSet};

use loko_config::names::HostName;
use loko_engine::container::{self, ContainerChange};
use loko_engine::{ContainerFacts, ContainerSpec};
use serde::Serialize;

use crate::container::Placement;
use crate::render::{self, HOSTS_DIRECTORY, Names};
use crate::zone::Zone;
use crate::{container as ours, parse};

/// What is there now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The container under the environment's name for it.
    pub container: Option<ContainerFacts>,
    /// Its dnsmasq.conf.
    pub conf: Option<String>,
    /// Its hosts files, name of the file → content.
    pub hosts: BTreeMap<String, String>,
}

impl Facts {
    /// Names that were found in the cluster before.
    #[must_use]
    pub fn cluster_names(&self) -> BTreeSet<HostName> {
        let names = self.hosts.iter().flat_map(|(file, text)| {
            let names = parse::names(text);
            // A LoKO that kept them in files of their own wrote no comments.
            if file.starts_with("cluster") {
                names.all()
            } else {
                names.cluster
            }
        });
        names.collect()
    }
}

/// What will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The container as it should be.
    pub spec: ContainerSpec,
    /// What becomes of the container.
    pub container: ContainerChange,
    /// The configuration, where it differs from what is there.
    pub conf: Option<String>,
    /// Hosts files that differ from what is there, name of the file → content.
    pub hosts: BTreeMap<String, String>,
    /// Hosts files that are there and should not be.
    pub stale: BTreeSet<String>,
    /// Names that are known, from loko.yaml and from the cluster.
    pub names: BTreeSet<HostName>,
}

/// A plan in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// All is as wanted.
    Nothing,
    /// Names come or go while it runs.
    Names,
    /// It was stopped and is started.
    Start,
    /// Domain, address, port or mode changed, or how names are kept: it is restarted, and answers nothing for a moment.
    Restart,
    /// There was none.
    Create,
    /// It was made from another specification: it is made anew, and answers nothing for a moment.
    Replace,
}

impl Plan {
    /// The plan in one word.
    #[must_use]
    pub fn change(&self) -> Change {
        match self.container {
            ContainerChange::Create => Change::Create,
            ContainerChange::Replace | ContainerChange::Foreign => Change::Replace,
            ContainerChange::Start => Change::Start,
            ContainerChange::Nothing if self.conf.is_some() || self.has_older_files() => Change::Restart,
            ContainerChange::Nothing if !self.hosts.is_empty() || !self.stale.is_empty() => Change::Names,
            ContainerChange::Nothing => Change::Nothing,
        }
    }

    /// Whether there are hosts files that an older LoKO wrote, or somebody else. Names in them may be wanted, and are then in others
    /// of ours, so that a dnsmasq that runs would lose them when these go ([`render::hosts`]): it is restarted.
    fn has_older_files(&self) -> bool {
        self.stale.iter().any(|file| !render::is_known(file))
    }

    /// Every file that must be written before a dnsmasq starts, path and content. Those that should not be there are emptied: they
    /// can be removed only by a command, which needs a container that runs.
    #[must_use]
    pub fn files(&self) -> Vec<(String, &str)> {
        let conf = self
            .conf
            .iter()
            .map(|text| (render::CONF_PATH.to_owned(), text.as_str()));
        let stale = self.stale.iter().map(|file| (file, ""));
        let hosts = self.hosts.iter().map(|(file, text)| (file, text.as_str())).chain(stale);
        let hosts = hosts.map(|(file, text)| (format!("{HOSTS_DIRECTORY}/{file}"), text));
        conf.chain(hosts).collect()
    }
}

/// Plans. `cluster` are the names found in the cluster; `None`: those that were found before stay.
///
/// A container that is made anew gets every file, because its volume may hold those of an earlier one.
#[must_use]
pub fn plan(zone: &Zone, placement: &Placement, cluster: Option<&BTreeSet<HostName>>, facts: &Facts) -> Plan {
    let spec = ours::spec(zone, placement);
    let mut change = container::compare(&spec, facts.container.as_ref());
    let runs = facts.container.as_ref().is_some_and(ContainerFacts::is_running);
    if change == ContainerChange::Nothing && !runs {
        // One that ends again and again is as wanted, but not well: its start is waited for, and its last words are told.
        change = ContainerChange::Start;
    }
    let made = matches!(change, ContainerChange::Create | ContainerChange::Replace);
    let known = facts.cluster_names();
    let within: BTreeSet<HostName> = cluster
        .unwrap_or(&known)
        .iter()
        .filter(|name| zone.holds(name.as_str()))
        .cloned()
        .collect();
    let conf = render::conf(zone, placement.listen());
    let names = Names {
        zone: zone.hosts.clone(),
        cluster: within,
    };
    let mut wanted = render::hosts(zone.address, &names);
    let (readme, text) = render::README;
    wanted.insert(readme.to_owned(), text.to_owned());
    Plan {
        spec,
        container: change,
        conf: (made || facts.conf.as_ref() != Some(&conf)).then_some(conf),
        stale: facts
            .hosts
            .keys()
            .filter(|file| !wanted.contains_key(*file))
            .cloned()
            .collect(),
        hosts: wanted
            .into_iter()
            .filter(|(file, text)| made || facts.hosts.get(file) != Some(text))
            .collect(),
        names: names.all(),
    }
}

#[cfg(test)]
mod tests;
