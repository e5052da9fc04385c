//! loko-dns
