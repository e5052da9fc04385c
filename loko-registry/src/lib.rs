//! loko-registry
