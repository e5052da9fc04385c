//! Routes whose certificates an ACME server signs.
//!
//! Traefik asks for a certificate as soon as it knows the route, and where the server's challenge does not find its way back it
//! does not ask again until its configuration changes. So such a route is applied once HAProxy and Traefik lead there, and one
//! that Traefik has no certificate for is applied anew: it learned of the route when it was not reached yet.

use loko_cluster::{Manifest, ObjectKey, components, workloads};

use super::Work;
use crate::error::CliError;
use crate::progress::Outcome;
use crate::steps::Stopped;
use crate::up::objects::{Applied, done};
use crate::up::ready::{OBJECT_LIMIT, is_forgotten, shows_our_certificate};

impl<F, V> Work<'_, F>
where
    F: Future<Output = Result<V, Stopped>> + Clone + Send + Sync,
    V: Send,
{
    /// Has Traefik ask for what it has no certificate for.
    pub(super) async fn certificates(&self, applied: &Applied) -> Result<(), CliError> {
        if applied.acme.is_empty() {
            return Ok(());
        }
        self.way_is_up().await;
        let traefik = ObjectKey {
            api_version: "apps/v1".to_owned(),
            kind: "DaemonSet".to_owned(),
            namespace: Some(components::NAMESPACE.to_owned()),
            name: components::traefik::NAME.to_owned(),
        };
        let told = |why: &str| self.line.tell(&format!("{traefik}: {why}"));
        self.api.wait_ready(&traefik, OBJECT_LIMIT, told).await?;
        self.api.carry_out_all(&applied.late).await?;
        if let Outcome::Changed(text) = done(applied.late.iter()) {
            self.note(text);
        }
        let is_fresh = |manifest: &&Manifest| applied.late.iter().any(|change| change.key() == manifest.key());
        for manifest in applied.acme.iter().filter(|manifest| !is_fresh(manifest)) {
            if self.lacks_one(manifest).await {
                let key = manifest.key();
                self.api.delete(&key).await?;
                // Both at once would be no change to Traefik.
                let (context, platform) = (self.up.context, self.up.platform);
                for host in workloads::acme_hosts(manifest) {
                    is_forgotten(context, platform, &host).await;
                }
                self.api.apply(manifest).await?;
                self.note(format!("{key} once more, for its certificate"));
            }
        }
        Ok(())
    }

    /// Whether Traefik shows the certificate of the domain for one of a route's hosts, for want of its own.
    async fn lacks_one(&self, route: &Manifest) -> bool {
        for host in workloads::acme_hosts(route) {
            if shows_our_certificate(self.up.context, self.up.platform, &host).await {
                return true;
            }
        }
        false
    }
}
