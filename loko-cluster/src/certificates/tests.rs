use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::time::Duration;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn names(list: &[&str]) -> Names {
    Names {
        dns: list.iter().map(|name| (*name).to_owned()).collect(),
        addresses: BTreeSet::new(),
    }
}

const NOW: &str = "2026-11-24T10:00:00Z";

/// A client's own verdict, by the verifier of rustls.
fn accepts(authority: &Authority, leaf: &Leaf, server: &str, now: Timestamp) -> Result<(), webpki::Error> {
    let root = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
    let certificate = CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).unwrap();
    let end = webpki::EndEntityCert::try_from(&certificate)?;
    end.verify_for_usage(
        &[webpki::ring::ECDSA_P256_SHA256],
        &[webpki::anchor_from_trusted_cert(&root)?],
        &[],
        UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().unsigned_abs())),
        webpki::KeyUsage::server_auth(),
        None,
        None,
    )?;
    end.verify_is_valid_for_subject_name(&ServerName::try_from(server).unwrap())
}

#[test]
fn a_client_that_trusts_the_authority_accepts_the_leaf_for_its_names_alone() {
    let now = at(NOW);
    let authority = Authority::create("me@laptop", now).unwrap();
    let wanted = Names::of_domain("dev.me", ["shop.dev.me", "a.b.dev.me", "shop.example.org"])
        .with_addresses(["10.96.0.81".parse().unwrap()]);
    let leaf = authority.issue(&wanted, now).unwrap();
    for good in ["dev.me", "shop.dev.me", "a.b.dev.me", "shop.example.org", "10.96.0.81"] {
        assert_eq!(accepts(&authority, &leaf, good, now), Ok(()), "{good}");
    }
    for bad in ["x.a.dev.me", "dev.you", "10.96.0.82"] {
        assert!(accepts(&authority, &leaf, bad, now).is_err(), "{bad}");
    }
    let other = Authority::create("me@laptop", now).unwrap();
    assert!(accepts(&other, &leaf, "dev.me", now).is_err());
}

#[test]
fn an_authority_goes_on_from_its_files() {
    let now = at(NOW);
    let made = Authority::create("me@laptop", now).unwrap();
    let read = Authority::from_pem(made.certificate_pem(), &made.key_pem()).unwrap();
    assert_eq!(read.info(), made.info());
    let leaf = read.issue(&names(&["dev.me"]), now).unwrap();
    assert_eq!(accepts(&made, &leaf, "dev.me", now), Ok(()));
}

#[test]
fn what_is_read_back_is_what_was_asked_for() {
    let now = at(NOW);
    let authority = Authority::create("me@laptop", now).unwrap();
    let info = authority.info();
    assert_eq!(info.subject, "O=LoKO, CN=LoKO development CA me@laptop");
    assert!(info.authority);
    assert_eq!(info.not_after, at("2036-11-24T00:00:00Z"));
    assert_eq!(info.fingerprint.len(), 95);

    let wanted = Names::of_domain("dev.me", []).with_addresses(["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
    let leaf = CertificateInfo::read(&authority.issue(&wanted, now).unwrap().certificate_pem).unwrap();
    assert_eq!(leaf.wanted_names(), wanted);
    assert_eq!(leaf.issuer, info.subject);
    assert_eq!(leaf.subject, "O=LoKO, CN=dev.me");
    assert_eq!(leaf.not_before, at("2026-11-23T00:00:00Z"));
    assert_eq!(leaf.not_after, at("2027-12-25T00:00:00Z"));
    assert!(!leaf.authority);
}

#[test]
fn names_that_the_wildcard_covers_are_left_out() {
    let wanted = Names::of_domain("dev.me", ["dev.me", "a.dev.me", "a.b.dev.me", "notdev.me"]);
    let list: Vec<&str> = wanted.dns.iter().map(String::as_str).collect();
    assert_eq!(list, ["*.dev.me", "a.b.dev.me", "dev.me", "notdev.me"]);
}

#[test]
fn hosts_outside_the_domain_are_left_to_acme_where_there_is_one() {
    let names = |components: &str| {
        let yaml = format!(
            "name: dev\n{components}workloads: {{user: [{{name: a, image: b, http: {{port: 1, hosts: [x.y.dev.me, a.example.org]}}}}]}}\n"
        );
        let loaded = loko_config::load(&yaml, &loko_config::LoadOptions::default()).unwrap();
        Names::of_environment(&loaded.environment)
            .dns
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["*.dev.me", "a.example.org", "dev.me", "x.y.dev.me"]);
    let acme = "components: {ingress-controller: {acme: {email: me@example.org}}}\n";
    assert_eq!(names(acme), ["*.dev.me", "dev.me", "x.y.dev.me"]);
}

#[test]
fn a_leaf_is_kept_until_names_age_key_or_authority_say_otherwise() {
    let now = at(NOW);
    let authority = Authority::create("me@laptop", now).unwrap();
    let wanted = names(&["dev.me", "*.dev.me"]);
    let leaf = authority.issue(&wanted, now).unwrap();
    let decide = |now: &str, leaf: Option<&Leaf>, wanted: &Names, authority: &Authority| match renewal(
        at(now),
        leaf,
        wanted,
        authority,
    ) {
        Decision::Keep => "keep".to_owned(),
        Decision::Renew { reason } => reason.to_string(),
    };
    assert_eq!(decide(NOW, Some(&leaf), &wanted, &authority), "keep");
    assert_eq!(decide(NOW, None, &wanted, &authority), "there is none yet");
    // 397 days from 2026-11-23; a third of them, 132 days and 8 hours, begins at 2027-08-14T16:00.
    assert_eq!(decide("2027-08-14T15:59:59Z", Some(&leaf), &wanted, &authority), "keep");
    assert_eq!(
        decide("2027-08-14T16:00:01Z", Some(&leaf), &wanted, &authority),
        "it ends at 2027-12-25T00:00:00Z"
    );
    assert_eq!(
        decide("2020-01-01T00:00:00Z", Some(&leaf), &wanted, &authority),
        "it ends at 2027-12-25T00:00:00Z"
    );
    assert_eq!(
        decide(NOW, Some(&leaf), &names(&["dev.me", "x.y.dev.me"]), &authority),
        "its names changed +x.y.dev.me -*.dev.me"
    );
    // The same subject and another key: only the signature tells.
    let other = Authority::create("me@laptop", now).unwrap();
    assert_eq!(
        decide(NOW, Some(&leaf), &wanted, &other),
        "it was signed by `O=LoKO, CN=LoKO development CA me@laptop`"
    );
    let swapped = Leaf {
        key_pem: other.key_pem(),
        ..leaf.clone()
    };
    assert_eq!(
        decide(NOW, Some(&swapped), &wanted, &authority),
        "its key belongs to another certificate"
    );
    let half = Leaf {
        certificate_pem: leaf.certificate_pem[..200].to_owned(),
        ..leaf
    };
    assert!(decide(NOW, Some(&half), &wanted, &authority).starts_with("it cannot be read"));
}

#[test]
fn what_cannot_be_an_authority_is_refused() {
    let now = at(NOW);
    let authority = Authority::create("me@laptop", now).unwrap();
    let leaf = authority.issue(&names(&["dev.me"]), now).unwrap();
    let refused = |certificate: &str, key: &str| Authority::from_pem(certificate, key).unwrap_err();
    assert!(matches!(
        refused(&leaf.certificate_pem, &leaf.key_pem),
        CertificateError::NoAuthority { .. }
    ));
    assert!(matches!(
        refused(authority.certificate_pem(), &leaf.key_pem),
        CertificateError::OtherKey { .. }
    ));
    assert!(matches!(
        refused(authority.certificate_pem(), "no key"),
        CertificateError::UnreadableKey { .. }
    ));
    assert!(matches!(
        refused("no certificate", &leaf.key_pem),
        CertificateError::Unreadable { .. }
    ));
    assert!(matches!(
        refused(&leaf.key_pem, &leaf.key_pem),
        CertificateError::Unreadable { .. }
    ));
}

#[test]
fn nothing_is_issued_outside_the_authoritys_time_or_for_no_name() {
    let authority = Authority::create("me@laptop", at(NOW)).unwrap();
    let wanted = names(&["dev.me"]);
    assert!(matches!(
        authority.issue(&wanted, at("2037-01-01T00:00:00Z")).unwrap_err(),
        CertificateError::OutOfTime { .. }
    ));
    assert_eq!(
        authority.issue(&names(&[]), at(NOW)).unwrap_err(),
        CertificateError::NoNames
    );
    assert!(matches!(
        authority.issue(&names(&["bücher.dev.me"]), at(NOW)).unwrap_err(),
        CertificateError::Name { .. }
    ));
    let late = authority.issue(&wanted, at("2036-10-01T00:00:00Z")).unwrap();
    let info = CertificateInfo::read(&late.certificate_pem).unwrap();
    assert_eq!(
        info.not_after,
        authority.info().not_after,
        "a leaf ends with its authority"
    );
}

#[test]
fn keys_are_not_shown() {
    let authority = Authority::create("me@laptop", at(NOW)).unwrap();
    let leaf = authority.issue(&names(&["dev.me"]), at(NOW)).unwrap();
    for shown in [format!("{authority:?}"), format!("{leaf:?}")] {
        assert!(!shown.contains("PRIVATE"), "{shown}");
    }
}
