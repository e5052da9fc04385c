//! `loko`: arguments → calls → output.
fn main() {}
