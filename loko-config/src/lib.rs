//! loko.yaml: what the user wrote, what it means, and where it was written. No I/O at all.
//!
//! ```text
//! text ─ raw (mirror of the file, with spans) ─→ model (checked, defaults applied) ─→ Environment
//!                        └──────────── every problem in it ────────────→ Problems (line, column, remedy)
//! ```

pub mod model;
pub mod names;
pub mod slots;

pub use model::Environment;
