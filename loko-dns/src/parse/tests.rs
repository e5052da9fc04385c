use proptest::prelude::*;

use super::*;
use crate::render;
use crate::samples::{self, any_zone};

#[test]
fn lines_are_read_as_dnsmasq_reads_them() {
    let option = |name, value| Line::Option { name, value };
    for (text, expected) in [
        ("", Line::Blank),
        ("  # a: b ", Line::Comment("a: b")),
        ("no-resolv", option("no-resolv", None)),
        ("no-resolv # why", option("no-resolv", None)),
        (" port = 53 ", option("port", Some("53"))),
        (
            "server=/a.b/127.0.0.1#5453 # ours",
            option("server", Some("/a.b/127.0.0.1#5453")),
        ),
        ("conf-dir=", option("conf-dir", Some(""))),
    ] {
        assert_eq!(line(text), Ok(expected), "{text}");
    }
    for bad in ["=1", "a b", "ä=1", "port 53"] {
        assert!(line(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_file_that_lacks_what_we_write_is_not_ours() {
    let error = conf("port=53\n# environment: dev\nlocal=/dev.me/\n").unwrap_err();
    assert_eq!(error, ParseError::Missing { option: "# address" });
    let error = conf("port=0\n").unwrap_err();
    assert_eq!(
        error,
        ParseError::Value {
            option: "port",
            value: "0".into()
        }
    );
}

#[test]
fn hosts_lines_are_read_as_the_c_library_reads_them() {
    let address = IpAddr::from([127, 0, 0, 1]);
    assert_eq!(hosts_line("127.0.0.1 a.b"), Some((address, vec!["a.b"])));
    assert_eq!(hosts_line("\t127.0.0.1\ta  b # c d"), Some((address, vec!["a", "b"])));
    assert_eq!(hosts_line("127.0.0.1 a#c"), Some((address, vec!["a"])));
    for none in ["", "# 127.0.0.1 a", "127.0.0.1", "a b", "127.0.0.1 # a"] {
        assert_eq!(hosts_line(none), None, "{none}");
    }
}

#[test]
fn who_knows_a_name_is_its_comment() {
    let read = names("127.0.0.1 a.b\n::1 c.b # cluster\n::1 d.b #loko.yaml, cluster\n127.0.0.1 e.b # by hand\n");
    assert_eq!(read.zone, samples::names(&["a.b", "d.b", "e.b"]));
    assert_eq!(read.cluster, samples::names(&["c.b", "d.b"]));
}

proptest! {
    #[test]
    fn a_zone_survives_its_files(zone in any_zone(), found in any_zone(), both in 0..6_usize, everywhere: bool) {
        let listen = if everywhere { Listen::Everywhere } else { Listen::Address };
        let (mut read, read_listen) = conf(&render::conf(&zone, listen)).unwrap();
        let cluster = zone.hosts.iter().take(both).chain(&found.hosts).cloned().collect();
        let wanted = Names { zone: zone.hosts.clone(), cluster };
        let mut names = Names::default();
        for text in render::hosts(zone.address, &wanted).values() {
            names.extend(super::names(text));
        }
        prop_assert_eq!(&names, &wanted);
        read.hosts = names.zone;
        prop_assert_eq!(read, zone);
        prop_assert_eq!(read_listen, listen);
    }

    #[test]
    fn nothing_makes_the_readers_panic(text in "\\PC*") {
        let _ = conf(&text);
        let _ = line(&text);
        let _ = hosts_line(&text);
    }
}
