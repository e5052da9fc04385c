//! The key `workloads`.

use crate::names::{Known, NamespaceName, Quantity, WorkloadName};
use crate::raw::RawPort;
use crate::read::{
    Annotations, Env, Free, FreeList, FreeMap, Optional, Port, PullPolicy, Replicas, Seconds, Spanned, section,
};

section! {
    /// What you run: services from the catalogue (`system`), your own images and Helm charts (`user`).
    RawWorkloads "workloads" {
        /// The namespace of all workloads.
        namespace "namespace": NamespaceName, default(NamespaceName::known("loko-workloads"));
        /// Helm repositories, by the name that charts use.
        helm_repositories "helm-repositories": Vec<Spanned<RawRepository>>, default(Vec::new());
        /// Services from the catalogue.
        system "system": Vec<Spanned<RawSystem>>, default(Vec::new());
        /// Your own images and Helm charts.
        user "user": Vec<Spanned<RawUser>>, default(Vec::new());
    }
    old {
        "use-presets" => Renamed "`workloads.system`";
    }
}

section! {
    /// A Helm repository.
    RawRepository "workloads.helm-repositories[]" {
        /// As charts name it.
        name "name": WorkloadName, required;
        /// An `http://`, `https://` or `oci://` address.
        url "url": String, required;
    }
}

section! {
    /// A service from the catalogue.
    RawSystem "workloads.system[]" {
        /// The entry of the catalogue.
        name "name": WorkloadName, required;
        /// Whether it runs.
        enabled "enabled": bool, default(true);
        /// TCP and UDP ports on the host. Default: the entry's own.
        ports "ports": Vec<Spanned<RawPort>>, optional;
        /// The size of its volume. Default: the entry's own.
        storage "storage": Quantity, optional;
        /// HTTP routes. Default: the entry's own.
        http "http": RawHttp, optional;
        /// Workloads that must be ready first.
        depends_on "depends-on": Vec<Spanned<WorkloadName>>, default(Vec::new());
        /// Values of the entry to override, deeply merged.
        config "config": FreeMap, default(FreeMap::default());
    }
    old {
        "volume" => Renamed "`storage`";
        "values" => Renamed "`config`";
    }
}

section! {
    /// A workload of your own: one container (`image`), or a Helm chart (`config`).
    RawUser "workloads.user[]" {
        /// Its name, and the first label of its host.
        name "name": WorkloadName, required;
        /// Whether it runs.
        enabled "enabled": bool, default(true);
        /// The container's image, with tag or digest.
        image "image": String, optional;
        /// A Helm chart instead of an image.
        config "config": RawConfig, optional;
        /// HTTP routes.
        http "http": RawHttp, optional;
        /// TCP and UDP ports on the host: `5432`, `9001/udp`, or `{port: 5432, tls: sni}`.
        ports "ports": Vec<Spanned<RawPort>>, default(Vec::new());
        /// A volume of this size.
        storage "storage": Quantity, optional;
        /// Where the volume is mounted.
        storage_path "storage-path": String, default("/data".to_owned());
        /// Workloads that must be ready first.
        depends_on "depends-on": Vec<Spanned<WorkloadName>>, default(Vec::new());
        /// Environment variables: a map, or Kubernetes' own list.
        env "env": Env, default(Env::default());
        /// Replaces the image's entry point.
        command "command": Vec<Spanned<String>>, default(Vec::new());
        /// Replaces the image's arguments.
        args "args": Vec<Spanned<String>>, default(Vec::new());
        /// How many pods.
        replicas "replicas": Replicas, default(Replicas(1));
        /// Configuration files: absolute path in the container → content.
        files "files": Annotations, default(Annotations::default());
        /// Labels of the pods.
        labels "labels": Annotations, default(Annotations::default());
        /// Annotations of the pods.
        annotations "annotations": Annotations, default(Annotations::default());
        /// CPU and memory, as Kubernetes spells it: `{requests: {memory: 64Mi}, limits: {cpu: "1"}}`.
        resources "resources": FreeMap, optional;
        /// Kubernetes restarts the container when this fails.
        liveness_probe "livenessProbe": FreeMap, optional;
        /// Traffic comes only while this succeeds.
        readiness_probe "readinessProbe": FreeMap, optional;
        /// The other probes start after this succeeded once.
        startup_probe "startupProbe": FreeMap, optional;
        /// Kubernetes' `lifecycle` of the container.
        lifecycle "lifecycle": FreeMap, optional;
        /// Kubernetes' `securityContext` of the container.
        security_context "securityContext": FreeMap, optional;
        /// Where the command starts.
        working_dir "workingDir": String, optional;
        /// `Always`, `IfNotPresent` or `Never`.
        image_pull_policy "imagePullPolicy": PullPolicy, optional;
        /// Environment variables from config maps and secrets.
        env_from "envFrom": FreeList, optional;
        /// Mounts of `volumes`.
        volume_mounts "volumeMounts": FreeList, optional;
        /// Volumes of the pod.
        volumes "volumes": FreeList, optional;
        /// Containers that run to their end before this one starts.
        init_containers "initContainers": FreeList, optional;
        /// Containers beside this one, in the same pod.
        sidecars "sidecars": FreeList, default(FreeList::default());
        /// Nodes that it may run on, by label.
        node_selector "nodeSelector": FreeMap, optional;
        /// Taints that it bears.
        tolerations "tolerations": FreeList, optional;
        /// Kubernetes' `affinity`.
        affinity "affinity": FreeMap, optional;
        /// The service account of the pod.
        service_account_name "serviceAccountName": String, optional;
        /// Seconds between asking the pod to stop and killing it.
        termination_grace_period_seconds "terminationGracePeriodSeconds": Seconds, optional;
        /// Further lines of the pod's hosts file.
        host_aliases "hostAliases": FreeList, optional;
        /// Kubernetes' `securityContext` of the pod.
        pod_security_context "podSecurityContext": FreeMap, optional;
    }
    old {
        "chart" => Renamed "`config.chart`";
        "values" => Renamed "`config.values`";
        "repo" => Renamed "`config.repo`";
        "environment" => Renamed "`env`";
        "volume" => Renamed "`storage`";
        "arguments" => Renamed "`args`";
    }
}

section! {
    /// A Helm chart.
    RawConfig "workloads.user[].config" {
        /// `repository/chart`, an `oci://` address, a folder (`./chart`), or the path in `repo.git`.
        chart "chart": String, required;
        /// The chart's version.
        version "version": String, optional;
        /// Where the chart comes from, unless `chart` says it.
        repo "repo": RawRepo, optional;
        /// Values of the chart.
        values "values": FreeMap, default(FreeMap::default());
    }
    old {
        "repository" => Renamed "`config.repo`";
    }
}

section! {
    /// Where a chart comes from: one of `ref`, `url` and `git`.
    RawRepo "workloads.user[].config.repo" {
        /// The name of an entry of `workloads.helm-repositories`.
        reference "ref": String, optional;
        /// The address of a Helm repository that is not in that list.
        url "url": String, optional;
        /// The address of a git repository that holds the chart.
        git "git": String, optional;
        /// Branch, tag or commit of `git`. Default: the remote's HEAD.
        revision "revision": String, optional;
    }
    old {
        "name" => Renamed "`config.repo.ref`";
    }
}

section! {
    /// HTTP routes of a workload.
    RawHttp "workloads.user[].http" {
        /// The container's port, or for a chart the service's.
        port "port": Port, required;
        /// Host names. Default: `<workload>.<domain>`.
        hosts "hosts": Vec<Spanned<String>>, default(Vec::new());
        /// For a chart, the service to route to. Default: the workload's name.
        service "service": String, optional;
        /// Annotations of the Ingress; those under `traefik.ingress.kubernetes.io/service.` are put on the Service, where Traefik reads them: `…service.serversscheme: h2c` is gRPC.
        annotations "annotations": Annotations, default(Annotations::default());
    }
    old {
        "host" => Renamed "`hosts`, a list";
    }
}

/// Keys of a workload that mean something for a chart.
pub(crate) const CHART_KEYS: &[&str] = &["name", "enabled", "config", "http", "ports", "depends-on"];

/// What goes through to Kubernetes' `Container`, by its name there.
type Passed<'r> = Vec<(&'static str, &'r Free)>;

impl RawUser {
    /// Fields of `Container` that are maps or lists.
    pub(crate) fn container_fields(&self) -> Passed<'_> {
        let maps = [
            ("resources", &self.resources),
            ("livenessProbe", &self.liveness_probe),
            ("readinessProbe", &self.readiness_probe),
            ("startupProbe", &self.startup_probe),
            ("lifecycle", &self.lifecycle),
            ("securityContext", &self.security_context),
        ];
        let lists = [("envFrom", &self.env_from), ("volumeMounts", &self.volume_mounts)];
        collect(&maps, &lists)
    }

    /// Fields of `PodSpec` that are maps or lists.
    pub(crate) fn pod_fields(&self) -> Passed<'_> {
        let maps = [
            ("nodeSelector", &self.node_selector),
            ("affinity", &self.affinity),
            ("securityContext", &self.pod_security_context),
        ];
        let lists = [
            ("volumes", &self.volumes),
            ("initContainers", &self.init_containers),
            ("tolerations", &self.tolerations),
            ("hostAliases", &self.host_aliases),
        ];
        collect(&maps, &lists)
    }
}

fn collect<'r>(
    maps: &[(&'static str, &'r Optional<FreeMap>)],
    lists: &[(&'static str, &'r Optional<FreeList>)],
) -> Passed<'r> {
    let maps = maps
        .iter()
        .filter_map(|(key, map)| map.as_ref().map(|map| (*key, &*map.value.0)));
    let lists = lists
        .iter()
        .filter_map(|(key, list)| list.as_ref().map(|list| (*key, &*list.value.0)));
    maps.chain(lists).collect()
}
