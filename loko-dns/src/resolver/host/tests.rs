use super::*;

#[test]
fn network_managers_dns_is_that_of_its_main_section() {
    let printed = "# NetworkManager configuration: /etc/NetworkManager/NetworkManager.conf\n\n[main]\n# dns=\ndns=dnsmasq\n\n[x]\ndns=no\n";
    assert_eq!(main_dns(printed), "dnsmasq");
    assert_eq!(main_dns("[main]\n# rc-manager=\n"), "");
}

#[test]
fn the_directory_of_dnsmasq_is_found() {
    for (conf, defaults, expected) in [
        ("#conf-dir=/x\n", "", None),
        ("conf-dir=/etc/dnsmasq.d/,*.conf\n", "", Some("/etc/dnsmasq.d")),
        (
            "",
            "CONFIG_DIR=/etc/dnsmasq.d,.dpkg-dist,.dpkg-old\n",
            Some("/etc/dnsmasq.d"),
        ),
        ("", "CONFIG_DIR=\n", None),
    ] {
        assert_eq!(conf_directory(conf, defaults).as_deref(), expected, "{conf}{defaults}");
    }
}

#[test]
fn what_resolvectl_says_of_a_link_is_read() {
    let one = |text: &str| BTreeSet::from([text.to_owned()]);
    assert_eq!(after_colon("Link 7 (loko-12): 127.0.0.1:5453\n"), one("127.0.0.1:5453"));
    assert_eq!(after_colon("Link 7 (loko-12): ~dev.me\n"), one("~dev.me"));
    assert!(after_colon("Link 7 (loko-12):\n").is_empty());
}
