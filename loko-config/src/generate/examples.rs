//! Commented examples of a generated file. A test takes the comment signs away and loads the result.

/// By the path of the key. Where the key has a default the example is its value, else it is the key itself.
pub(crate) const EXAMPLES: &[(&str, &str)] = &[
    (
        "cluster.nodes.labels.individual",
        "\
control-plane: {disk: ssd}",
    ),
    (
        "cluster.extra-mounts",
        "\
- {hostPath: ./data, containerPath: /data, readOnly: true}",
    ),
    (
        "cluster.extra-cas",
        "\
- ./corp-ca.pem",
    ),
    (
        "cluster.kubeadm-patches",
        "\
- |
  kind: ClusterConfiguration
  apiServer:
    extraArgs: [{name: v, value: \"4\"}]",
    ),
    (
        "network.port-overrides",
        "\
postgres: {5432: 15432}",
    ),
    (
        "components.ingress-controller.acme",
        "\
acme:
  email: me@example.com
  server: https://acme-v02.api.letsencrypt.org/directory
  challenge: tls
  ca: |
    -----BEGIN CERTIFICATE-----
    …
    -----END CERTIFICATE-----",
    ),
    (
        "registry.mirroring.sources",
        "\
- docker_hub
- {name: quay, enabled: false}
- {name: corp, url: \"https://registry.corp.example\", prefix: registry.corp.example}
- {name: ghcr, credentials: {username: me, password: \"${env:GHCR_TOKEN}\"}}",
    ),
    (
        "workloads.helm-repositories",
        "\
- {name: grafana, url: \"https://grafana.github.io/helm-charts\"}",
    ),
    (
        "workloads.system",
        "\
- name: postgres
  enabled: true
  storage: 10Gi
  ports: [5432]
  depends-on: []
  config: {}",
    ),
    (
        "workloads.user",
        "\
- name: shop
  enabled: true
  image: ghcr.io/me/shop:1.2
  http: {port: 8080, hosts: [\"shop.${LOKO_DOMAIN}\"], annotations: {}}
  # 9000 is TCP; the last is shared by the host name that TLS clients ask for.
  ports: [9000, 9001/udp, {port: 9443, protocol: tcp, tls: sni}]
  env: {DATABASE: \"postgres.${LOKO_DOMAIN}\", PASSWORD: \"${env:DATABASE_PASSWORD}\"}
  depends-on: [postgres]
  storage: 1Gi
  storage-path: /data
  replicas: 1
  command: []
  args: []
  files: {/etc/shop/shop.toml: \"listen = 8080\"}
  labels: {}
  annotations: {}
  # As Kubernetes spells them.
  resources: {requests: {memory: 64Mi}, limits: {memory: 256Mi}}
  livenessProbe: {httpGet: {path: /healthz, port: 8080}}
  readinessProbe: {httpGet: {path: /readyz, port: 8080}}
  startupProbe: {httpGet: {path: /readyz, port: 8080}}
  lifecycle: {}
  securityContext: {}
  podSecurityContext: {}
  workingDir: /srv
  imagePullPolicy: IfNotPresent
  envFrom: []
  volumes: []
  volumeMounts: []
  initContainers: []
  sidecars: []
  nodeSelector: {}
  tolerations: []
  affinity: {}
  serviceAccountName: default
  terminationGracePeriodSeconds: 30
  hostAliases: []
- name: grafana
  config:
    chart: grafana/grafana
    version: 9.0.0
    values: {persistence: {enabled: false}}
    repo: {ref: grafana}
  http: {port: 80, service: grafana}
- name: from-git
  enabled: false
  config:
    chart: charts/one
    repo: {git: \"https://git.example/charts.git\", revision: main}",
    ),
];
