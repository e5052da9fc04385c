//! loko-engine
