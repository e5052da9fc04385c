//! Acts on the engine and on the cluster's API.

mod api;
mod apply;
mod balancer;
mod bootstrap;
mod differences;
mod ending;
mod evidence;
mod helm;
mod hooks;
mod images;
mod marks;
mod opening;
mod patience;
mod releases;
mod routes;
mod watch;

pub use api::{KubeApi, PodLogOptions};
pub use balancer::BalancerState;
pub use bootstrap::{Cluster, NodeState, fresh_token};
pub use helm::{Found, Helm, Rendered};
pub use hooks::HookTold;
