//! Maps of fixed keys: the macro that declares one, and what its generated code calls.

use super::{Cx, Field, Spanned, head, near};
use crate::problem::{Cause, Span};
use crate::shape::{Branch, KeyShape, Need, Tree};
use crate::yaml::{Entry, Node, Value};

/// A value that has a default.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read<T> {
    pub(crate) value: T,
    /// Where it was written; None for the default.
    pub(crate) span: Option<Span>,
    /// Written, but wrongly, which has been reported; `value` is the default.
    pub(crate) broken: bool,
}

/// A value that may be missing.
pub(crate) type Optional<T> = Option<Spanned<T>>;

/// What an older generation's key has become.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OldKey {
    /// It has a new place, in words.
    Renamed(&'static str),
    /// It means nothing any more, and why.
    Removed(&'static str),
}

/// What the macro gives each section beside [`Field`].
pub(crate) trait Section: Field {
    /// Nothing written: every default.
    fn unwritten() -> Self;
    /// Whether the key stood in the file with a value, understood or not.
    fn has(&self, key: &str) -> bool;
    /// Every key.
    fn keys() -> Vec<KeyShape>;
    /// The keys that were written, and where.
    fn written(&self) -> Vec<(&'static str, Span)>;
}

/// The entries of one map while it is read.
pub(crate) struct Entries<'n> {
    entries: &'n [Entry],
    span: Span,
}

impl<'n> Entries<'n> {
    /// Reports what is not in `keys`. None where the node is no map.
    pub(crate) fn open(
        node: &'n Node,
        cx: &mut Cx<'_>,
        keys: &[&'static str],
        old: &[(&'static str, OldKey)],
        old_list: Option<&str>,
    ) -> Option<Self> {
        let map = match &node.value {
            Value::Map(map) => map,
            Value::Scalar(_) if node.is_null() => {
                return Some(Self {
                    entries: &[],
                    span: node.span,
                });
            }
            Value::List(_) if old_list.is_some() => {
                let remedy = format!("write {}", old_list.unwrap_or_default());
                cx.wrong_kind(node, "a map", remedy);
                return None;
            }
            Value::Scalar(_) | Value::List(_) => {
                let some: Vec<_> = keys.iter().take(4).copied().collect();
                let wanted = format!("a map with keys such as {}", some.join(", "));
                cx.wrong_kind(node, &wanted, "write `key: value`, one a line and indented");
                return None;
            }
        };
        for entry in &map.entries {
            if !keys.contains(&entry.key.as_str()) {
                report_unknown(cx, entry, keys, old);
            }
        }
        Some(Self {
            entries: &map.entries,
            span: head(node),
        })
    }

    /// Which of `keys` are there with a value.
    pub(crate) fn present(&self, keys: &[&'static str]) -> Vec<&'static str> {
        let valued = self.entries.iter().filter(|entry| !entry.value.is_null());
        let found = valued.filter_map(|entry| {
            let key = entry.key.as_str();
            keys.iter().copied().find(|known| *known == key)
        });
        found.collect()
    }

    fn find(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn default<T: Field>(&self, key: &str, cx: &mut Cx<'_>, default: T) -> Read<T> {
        let Some(entry) = self.find(key) else {
            return Read {
                value: default,
                span: None,
                broken: false,
            };
        };
        let span = Some(place(entry));
        match T::read(&entry.value, cx) {
            Some(value) => Read {
                value,
                span,
                broken: false,
            },
            None => Read {
                value: default,
                span,
                broken: true,
            },
        }
    }

    pub(crate) fn optional<T: Field>(&self, key: &str, cx: &mut Cx<'_>) -> Optional<T> {
        let entry = self.find(key)?;
        if entry.value.is_null() {
            return None;
        }
        let value = T::read(&entry.value, cx)?;
        Some(Spanned {
            value,
            span: place(entry),
        })
    }

    pub(crate) fn required<T: Field>(&self, key: &str, cx: &mut Cx<'_>) -> Optional<T> {
        if let Some(entry) = self.find(key) {
            let value = T::read(&entry.value, cx)?;
            return Some(Spanned {
                value,
                span: place(entry),
            });
        }
        let wanted = T::shape().words();
        let key = key.to_owned();
        cx.error(self.span, Cause::MissingKey { key, wanted });
        None
    }
}

/// Where a key's value stands; the key itself where the value is empty or a block.
fn place(entry: &Entry) -> Span {
    match &entry.value.value {
        Value::Scalar(_) if !entry.value.span.is_empty() => entry.value.span,
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => entry.key_span,
    }
}

fn report_unknown(cx: &mut Cx<'_>, entry: &Entry, keys: &[&'static str], old: &[(&'static str, OldKey)]) {
    let key = entry.key.clone();
    let cause = match old.iter().find(|(old, _)| *old == key) {
        Some((_, OldKey::Renamed(place))) => Cause::RenamedKey {
            key,
            place: (*place).to_owned(),
        },
        Some((_, OldKey::Removed(why))) => Cause::RemovedKey {
            key,
            why: (*why).to_owned(),
        },
        None => {
            let near = near(&key, keys.iter().copied()).map(str::to_owned);
            let allowed = format!("allowed here: {}", keys.join(", "));
            let remedy = match (&near, crate::raw::places(&key)) {
                (Some(near), _) => format!("did you mean `{near}`?\n{allowed}"),
                (None, []) => allowed,
                (None, places) => format!("there is `{}`\n{allowed}", places.join("` and `")),
            };
            Cause::UnknownKey { key, near, remedy }
        }
    };
    cx.error(entry.key_span, cause);
}

/// How the three kinds of key differ in the macro below.
pub(crate) trait Slot {
    /// Where it was written.
    fn span(&self) -> Option<Span>;
    /// None where nothing was written and there is no default.
    fn branch(&self, key: &str) -> Option<Branch>;
}

impl<T: Field> Slot for Read<T> {
    fn span(&self) -> Option<Span> {
        self.span
    }

    fn branch(&self, key: &str) -> Option<Branch> {
        Some(Branch {
            key: key.to_owned(),
            value: self.value.tree(),
            span: self.span,
        })
    }
}

impl<T: Field> Slot for Optional<T> {
    fn span(&self) -> Option<Span> {
        self.as_ref().map(|spanned| spanned.span)
    }

    fn branch(&self, key: &str) -> Option<Branch> {
        let spanned = self.as_ref()?;
        Some(Branch {
            key: key.to_owned(),
            value: spanned.value.tree(),
            span: Some(spanned.span),
        })
    }
}

impl<T> Read<T> {
    /// A default.
    pub(crate) fn unwritten(value: T) -> Self {
        Self {
            value,
            span: None,
            broken: false,
        }
    }
}

/// Builds a [`KeyShape`].
pub(crate) fn key_shape<T: Field>(key: &'static str, doc: &str, need: Need) -> KeyShape {
    KeyShape {
        key,
        doc: doc
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("\n")
            .trim()
            .to_owned(),
        need,
        shape: T::shape(),
    }
}

/// The tree of a section from its slots.
pub(crate) fn section_tree(branches: impl IntoIterator<Item = Option<Branch>>) -> Tree {
    Tree::Map(branches.into_iter().flatten().collect())
}

/// Declares a map of fixed keys: a struct, and its [`Field`] and [`Section`].
///
/// Each key is `required`, `optional` or `default(value)`.
macro_rules! section {
    (
        $(#[doc = $doc:expr])+
        $name:ident $title:literal {
            $( $(#[doc = $key_doc:expr])+ $field:ident $key:literal : $ty:ty, $kind:ident $(($default:expr))? ; )+
        }
        $( old { $( $old:literal => $old_kind:ident $new:literal ; )+ } )?
        $( old_list $old_list:literal )?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct $name {
            $( $(#[doc = $key_doc])+ pub(crate) $field: $crate::read::section!(@slot $kind $ty), )+
            /// The keys that stood in the file with a value, understood or not.
            present: Vec<&'static str>,
        }

        impl $crate::read::Field for $name {
            fn read(node: &$crate::yaml::Node, cx: &mut $crate::read::Cx<'_>) -> Option<Self> {
                const KEYS: &[&str] = &[$($key),+];
                const OLD: &[(&str, $crate::read::OldKey)] = &[
                    $($( ($old, $crate::read::OldKey::$old_kind($new)), )+)?
                ];
                const OLD_LIST: Option<&str> = $crate::read::section!(@some $($old_list)?);
                let entries = $crate::read::Entries::open(node, cx, KEYS, OLD, OLD_LIST)?;
                $( let $field = entries.$kind::<$ty>($key, cx $(, $default)?); )+
                let present = entries.present(KEYS);
                Some(Self { $($field,)+ present })
            }

            fn shape() -> $crate::shape::Shape {
                $crate::shape::Shape::Map {
                    name: $title,
                    doc: [$($doc),+].map(str::trim).join("\n"),
                    keys: <Self as $crate::read::Section>::keys(),
                }
            }

            fn tree(&self) -> $crate::shape::Tree {
                $crate::read::section_tree([
                    $( $crate::read::Slot::branch(&self.$field, $key) ),+
                ])
            }
        }

        impl $crate::read::Section for $name {
            fn unwritten() -> Self {
                Self {
                    $( $field: $crate::read::section!(@unwritten $kind $(($default))?), )+
                    present: Vec::new(),
                }
            }

            fn has(&self, key: &str) -> bool {
                self.present.contains(&key)
            }

            fn written(&self) -> Vec<(&'static str, $crate::problem::Span)> {
                [$( ($key, $crate::read::Slot::span(&self.$field)) ),+]
                    .into_iter()
                    .filter_map(|(key, span)| Some((key, span?)))
                    .collect()
            }

            fn keys() -> Vec<$crate::shape::KeyShape> {
                vec![
                    $( $crate::read::key_shape::<$ty>(
                        $key,
                        &[$($key_doc),+].join("\n"),
                        $crate::read::section!(@need $kind $ty $(, $default)?),
                    ) ),+
                ]
            }
        }
    };
    (@unwritten default ($default:expr)) => { $crate::read::Read::unwritten($default) };
    (@unwritten optional) => { None };
    (@unwritten required) => { None };
    (@slot default $ty:ty) => { $crate::read::Read<$ty> };
    (@slot optional $ty:ty) => { $crate::read::Optional<$ty> };
    (@slot required $ty:ty) => { $crate::read::Optional<$ty> };
    (@some $value:literal) => { Some($value) };
    (@some) => { None };
    (@need default $ty:ty, $default:expr) => {
        $crate::shape::Need::Default({
            let default: $ty = $default;
            $crate::read::Field::tree(&default)
        })
    };
    (@need optional $ty:ty) => { $crate::shape::Need::Optional };
    (@need required $ty:ty) => { $crate::shape::Need::Required };
}
pub(crate) use section;
