//! Images into nodes: what the engine has is streamed, what it lacks the nodes pull themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::try_join_all;
use loko_engine::driver::ExecSpec;
use loko_engine::image::canonical;

use super::Cluster;
use crate::error::ClusterError;

/// Limit for the import of one image into one node.
const IMPORT_LIMIT: Duration = Duration::from_mins(10);

impl Cluster {
    /// Names of the images in a node, as containerd holds them.
    pub async fn images_in(&self, node: &str) -> Result<BTreeSet<String>, ClusterError> {
        let script = "until [ -S /run/containerd/containerd.sock ]; do sleep 0.05; done; ctr -n k8s.io images ls -q";
        let listed = self
            .engine()
            .exec_ok(node, &ExecSpec::new(["sh", "-c", script]))
            .await?;
        Ok(listed.text().lines().map(str::to_owned).collect())
    }

    /// Streams those of `images` that the engine has and a node lacks into that node, one after the other in the order
    /// given: unpacking is work for the CPU, and the first is wanted first. `told` hears each name. Returns how many
    /// were streamed.
    pub async fn load_images(
        &self,
        nodes: &[String],
        images: &[String],
        told: impl Fn(&str) + Send + Sync,
    ) -> Result<usize, ClusterError> {
        let held = try_join_all(nodes.iter().map(|node| self.images_in(node))).await?;
        let mut count = 0;
        for image in images {
            let lacking: Vec<&String> = nodes
                .iter()
                .zip(&held)
                .filter(|(_, held)| !held.contains(&canonical(image)))
                .map(|(node, _)| node)
                .collect();
            if lacking.is_empty() || self.engine().image(image).await?.is_none() {
                continue;
            }
            told(image);
            try_join_all(lacking.iter().map(|node| self.load_image(node, image))).await?;
            count += lacking.len();
        }
        Ok(count)
    }

    async fn load_image(&self, node: &str, image: &str) -> Result<(), ClusterError> {
        let archive = self.engine().export_images(&[image.to_owned()]);
        let spec = ExecSpec::new(["ctr", "-n", "k8s.io", "images", "import", "-"]).within(IMPORT_LIMIT);
        self.engine().exec_ok_with_input(node, &spec, archive).await?;
        Ok(())
    }
}
