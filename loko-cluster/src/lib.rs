//! loko-cluster
