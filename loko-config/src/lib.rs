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

pub mod edit;
mod expand;
mod generate;
mod load;
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
pub use reference::reference;
pub use schema::json_schema;
pub use show::{Origin, Shown};
