//! loko.yaml: what the user wrote, what it means, and where it was written. No I/O at all.
//!
//! ```text
//!        text
//!         │ yaml      tree of nodes, each with its place and how it was written ─┐
//!         ▼                                                                      │
//!        raw          one struct for each map, one field for each key, defaults  ├─→ Problems: each with code, line,
//!         │ resolve   texts with a grammar, variables that are known at load     │   column, what was found, what is
//!         ▼                                                                      │   allowed, and the remedy
//!     Environment     checked values, no Option where there is a default        ─┘
//!         │ rules     names, hosts, ports, subnets, dependencies, against each other
//!         │ expand    variables that are known when the environment runs
//!         ▼
//!     Environment
//! ```
//!
//! # What there is
//!
//! - [`load`], [`load_bytes`]: text → [`Loaded`] (the [`Environment`], warnings, [`Loaded::shown`]) or [`Problems`].
//!   What of the world may be known goes in with [`LoadOptions`]: environment variables, the host's addresses, other
//!   environments' domains, the catalogue.
//! - [`Environment::expand`]: variables of workloads once the address is known ([`Facts`]).
//! - [`show`]: the file with every default, and where each value comes from, as YAML or JSON.
//! - [`generate`]: a file to start from, full or minimal. [`json_schema`]: for editors. [`reference()`]: the page of keys.
//! - [`edit`]: changes that keep every other byte.
//! - [`versions`]: Renovate comments, the choice of a newer version, and the bytes that change.
//! - [`model`], [`names`], [`slots`]: the values that other crates work with.
//!
//! # Why it is built so
//!
//! *A tree of our own under the readers.* serde's derive stops at the first error, and by the time a field is seen the
//! quotes around it are gone, so `version: 2.10` cannot be told from `version: "2.10"`. The tree (module `yaml`, over the
//! event parser of serde-saphyr, which one file names) keeps places and notation, and bounds text, depth and aliases.
//!
//! *One list of keys.* The macro in `read::section` declares a map of the file once: key, type, default, and a comment
//! for users. Reading, near misses, the JSON Schema, the reference page, generated files and `show` all come from it, so
//! none can lack a key that another has. It is also why the schema is not derived from the model: the file has forms
//! (`- quay`, `5432/udp`) that the model has resolved.
//!
//! *Secrets are not shown.* [`Problems`] and warnings quote neither passwords nor variables of workloads; the module `mask`
//! says what is hidden. Line, column and bytes stay those of the file.
//!
//! *Variables twice.* Where a value must be right before anything runs (images, hosts, charts) variables are replaced
//! while loading, and `${LOKO_IP}`, which nobody knows yet, is refused there. Everywhere else the text stays a template,
//! checked, until [`Environment::expand`]; so values of environment variables, which may be secrets, are in no loaded
//! model that is printed or stored.

pub mod edit;
mod expand;
mod generate;
mod load;
mod mask;
pub mod model;
pub mod names;
pub mod problem;
mod raw;
mod read;
mod reference;
mod resolve;
mod rules;
mod schema;
mod shape;
pub mod show;
pub mod slots;
pub mod variables;
pub mod versions;
mod write;
mod yaml;

pub use expand::{ExpandError, Facts};
pub use generate::{GenerateOptions, SCHEMA_URL, Style, generate};
pub use load::{LoadOptions, Loaded, load, load_bytes};
pub use model::{Environment, Source};
pub use problem::{Cause, Problem, Problems, Severity};
pub use read::near;
pub use reference::reference;
pub use schema::json_schema;
pub use show::{Origin, Shown};
pub use write::to_yaml;

/// Runs the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
