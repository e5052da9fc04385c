//! What the crate makes, against snapshots, and against the programs that read it where they are at hand.

mod hosts;
mod rendered;
mod sample;
