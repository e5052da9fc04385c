//! loko-haproxy
