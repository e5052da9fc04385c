//! Images into nodes: what a bundle or the engine has is streamed, what they lack the nodes pull themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use loko_engine::EngineError;
use loko_engine::driver::ExecSpec;
use loko_engine::image::canonical;
use loko_registry::driver::Bundle;

use super::Cluster;
use crate::error::ClusterError;
use crate::wanted::NodeImage;

/// Limit for the import of an archive into one node.
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

    /// Streams those of `images` that the bundle or the engine has, and a node runs and lacks, into that node, all of them as one archive:
    /// layers that they share are read, sent and unpacked once. `told` hears the names. Returns how many were streamed.
    pub async fn load_images(
        &self,
        nodes: &[String],
        images: &[NodeImage],
        told: impl Fn(&str) + Send + Sync,
    ) -> Result<usize, ClusterError> {
        let held = try_join_all(nodes.iter().map(|node| self.images_in(node))).await?;
        let loads = self.loads(nodes, &held, images).await?;
        let wanted: Vec<(&String, Vec<String>)> = nodes
            .iter()
            .map(|node| {
                let lacking = loads.iter().filter(|(_, nodes)| nodes.contains(node));
                (node, lacking.map(|(image, _)| image.clone()).collect::<Vec<_>>())
            })
            .filter(|(_, lacking)| !lacking.is_empty())
            .collect();
        if !wanted.is_empty() {
            let names: Vec<&str> = loads.iter().map(|(image, _)| image.as_str()).collect();
            told(&names.join(", "));
        }
        try_join_all(wanted.iter().map(|(node, lacking)| self.send(node, lacking))).await?;
        Ok(wanted.iter().map(|(_, lacking)| lacking.len()).sum())
    }

    /// Those of `images` that the bundle or the engine has, in the order given, each with the nodes that run and lack it. `held` are the
    /// images in each of `nodes` ([`Self::images_in`]).
    pub async fn loads(
        &self,
        nodes: &[String],
        held: &[BTreeSet<String>],
        images: &[NodeImage],
    ) -> Result<Vec<(String, Vec<String>)>, ClusterError> {
        let lacking = |image: &NodeImage| -> Vec<String> {
            let name = canonical(&image.image);
            let running = nodes.iter().zip(held).filter(|(node, _)| image.nodes.contains(*node));
            let without = running.filter(|(_, held)| !held.contains(&name));
            without.map(|(node, _)| node.clone()).collect()
        };
        let loads = images.iter().map(|image| (&image.image, lacking(image)));
        let loads = loads
            .filter(|(_, lacking)| !lacking.is_empty())
            .map(|(image, lacking)| async move {
                let there = self.is_bundled(image) || self.engine().image(image).await?.is_some();
                Ok::<_, ClusterError>(there.then(|| (image.clone(), lacking)))
            });
        Ok(try_join_all(loads).await?.into_iter().flatten().collect())
    }

    /// Streams images that the engine has into a node, whether or not the node has some of these names.
    pub async fn load(&self, node: &str, images: &[String]) -> Result<(), ClusterError> {
        let archive = self.engine().export_images(images);
        self.engine().exec_ok_with_input(node, &import(), archive).await?;
        Ok(())
    }

    /// Those of the bundle from there, at the same time as the others from the engine.
    async fn send(&self, node: &str, images: &[String]) -> Result<(), ClusterError> {
        let (bundled, others): (Vec<String>, Vec<String>) =
            images.iter().cloned().partition(|image| self.is_bundled(image));
        let of_engine = async {
            if others.is_empty() {
                return Ok(());
            }
            self.load(node, &others).await
        };
        let of_bundle = async {
            let Some(bundle) = self.bundle.as_ref().filter(|_| !bundled.is_empty()) else {
                return Ok(());
            };
            let names = bundled.iter().map(|image| canonical(image)).collect();
            let archive = bundle.stream(names).map_err(|source| EngineError::Input {
                into: node.to_owned(),
                source: Box::new(source),
            });
            self.engine().exec_ok_with_input(node, &import(), archive).await?;
            Ok(())
        };
        futures_util::try_join!(of_engine, of_bundle).map(|((), ())| ())
    }

    fn is_bundled(&self, image: &str) -> bool {
        let bundle = self.bundle.as_ref();
        bundle.is_some_and(|bundle| bundle.contents().image(&canonical(image)).is_some())
    }

    /// The bundle that nodes get images from.
    #[must_use]
    pub fn bundle(&self) -> Option<&Arc<Bundle>> {
        self.bundle.as_ref()
    }
}

fn import() -> ExecSpec {
    ExecSpec::new(["ctr", "-n", "k8s.io", "images", "import", "-"]).within(IMPORT_LIMIT)
}
