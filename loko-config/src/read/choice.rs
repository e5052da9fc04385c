//! Words of fixed sets.

use serde_json::json;

use super::leaf::text;
use super::{Cx, Field, near};
use crate::model::{AcmeChallenge, KubeProxyMode, MirrorSource, RegistryEngine};
use crate::problem::Cause;
use crate::shape::{Shape, Tree};
use crate::yaml::Node;

/// A word of a fixed set.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// Each word with its value.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for this value.
    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, value)| *value == self)
            .map_or("", |(word, _)| word)
    }

    /// The words as a sentence has them.
    fn listed() -> String {
        let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
        words.join(", ")
    }
}

/// Reads a word of a fixed set.
pub(crate) fn choice<T: Choice>(node: &Node, cx: &mut Cx<'_>) -> Option<T> {
    let wanted = format!("one of {}", T::listed());
    let found = text(node, cx, &wanted)?;
    if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == found) {
        return Some(*value);
    }
    let remedy = match near(found, T::WORDS.iter().map(|(word, _)| *word)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write {wanted}"),
    };
    let cause = Cause::UnknownValue {
        found: crate::yaml::shorten(found),
        allowed: T::listed(),
        remedy,
    };
    cx.error(node.span, cause);
    None
}

macro_rules! choice_field {
    ($($ty:ty { $($word:literal => $value:expr),+ $(,)? })+) => {
        $(impl Choice for $ty {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),+];
        }

        impl Field for $ty {
            fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
                choice(node, cx)
            }

            fn shape() -> Shape {
                Shape::Scalar {
                    words: format!("one of {}", Self::listed()),
                    schema: json!({"enum": [$($word),+]}),
                }
            }

            fn tree(&self) -> Tree {
                Tree::Json(json!(self.word()))
            }
        })+
    };
}

choice_field! {
    KubeProxyMode {
        "iptables" => Self::Iptables, "ipvs" => Self::Ipvs, "nftables" => Self::Nftables, "none" => Self::None,
    }
    PullPolicy { "Always" => Self::Always, "IfNotPresent" => Self::IfNotPresent, "Never" => Self::Never }
    RegistryEngine { "zot" => Self::Zot, "distribution" => Self::Distribution }
    AcmeChallenge { "tls" => Self::Tls, "http" => Self::Http }
    MirrorSource {
        "docker_hub" => Self::DockerHub, "quay" => Self::Quay, "ghcr" => Self::Ghcr,
        "k8s_registry" => Self::K8sRegistry, "mcr" => Self::Mcr,
    }
}

/// When Kubernetes pulls an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}
