//! How a node is stopped: first what runs in it, in order, then the node.

use std::time::Duration;

use loko_engine::driver::ExecSpec;

use super::Cluster;
use crate::error::ClusterError;

/// Ends the pods of a node; kubeadm's etcd last.
const END_PODS: &str = include_str!("../../templates/end-pods.sh");
/// What systemd has to end what is left, in seconds: nothing that holds data.
const SYSTEMD_SECONDS: i32 = 3;
/// The same where pods could not be ended before.
const WITH_PODS_SECONDS: i32 = 20;

impl Cluster {
    /// Ends what runs in a node. Each container gets the signal that its image asks for, and `seconds` before it is killed;
    /// databases write what they hold meanwhile. The node runs on, without its kubelet.
    pub async fn end_pods(&self, node: &str, seconds: u64) -> Result<(), ClusterError> {
        let limit = seconds.to_string();
        let spec = ExecSpec::new(["sh", "-c", END_PODS, "sh", limit.as_str()]);
        // Twice: etcd comes after the others.
        let spec = spec.within(Duration::from_secs(2 * seconds + 20));
        self.engine().exec_ok(node, &spec).await?;
        Ok(())
    }

    /// Stops a node that runs. One in which no command can be run any more is stopped as it is.
    pub async fn stop_node(&self, node: &str, seconds: u64) -> Result<(), ClusterError> {
        let ended = self.end_pods(node, seconds).await;
        if let Err(error) = &ended {
            tracing::debug!(node, %error, "pods could not be ended one by one");
        }
        let limit = if ended.is_ok() {
            SYSTEMD_SECONDS
        } else {
            WITH_PODS_SECONDS
        };
        Ok(self.engine().stop_container(node, limit).await?)
    }
}
