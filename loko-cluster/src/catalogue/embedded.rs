//! The entries that come with loko, in the order of their names.

/// Name and description. A test compares it with the folder `catalogue`.
pub(super) const ENTRIES: [(&str, &str); 22] = [
    ("adminer", include_str!("../../catalogue/adminer.yaml")),
    ("clickhouse", include_str!("../../catalogue/clickhouse.yaml")),
    ("garage", include_str!("../../catalogue/garage.yaml")),
    ("grafana", include_str!("../../catalogue/grafana.yaml")),
    ("httpbin", include_str!("../../catalogue/httpbin.yaml")),
    ("jaeger", include_str!("../../catalogue/jaeger.yaml")),
    ("kafka", include_str!("../../catalogue/kafka.yaml")),
    ("keycloak", include_str!("../../catalogue/keycloak.yaml")),
    ("localstack", include_str!("../../catalogue/localstack.yaml")),
    ("mailpit", include_str!("../../catalogue/mailpit.yaml")),
    ("mariadb", include_str!("../../catalogue/mariadb.yaml")),
    ("memcached", include_str!("../../catalogue/memcached.yaml")),
    ("mongodb", include_str!("../../catalogue/mongodb.yaml")),
    ("mosquitto", include_str!("../../catalogue/mosquitto.yaml")),
    ("mysql", include_str!("../../catalogue/mysql.yaml")),
    ("nats", include_str!("../../catalogue/nats.yaml")),
    ("opensearch", include_str!("../../catalogue/opensearch.yaml")),
    ("postgres", include_str!("../../catalogue/postgres.yaml")),
    ("prometheus", include_str!("../../catalogue/prometheus.yaml")),
    ("rabbitmq", include_str!("../../catalogue/rabbitmq.yaml")),
    ("redisinsight", include_str!("../../catalogue/redisinsight.yaml")),
    ("valkey", include_str!("../../catalogue/valkey.yaml")),
];
