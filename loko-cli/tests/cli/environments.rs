//! Which environment a command means, and commands that only read.

use serde_json::json;

use crate::run::User;

const DEV: &str = "name: dev\nnetwork: {domain: dev.loko.test}\n";

#[test]
fn a_valid_file_is_valid_for_people_and_for_machines() {
    let user = User::new();
    user.write("loko.yaml", DEV);
    insta::assert_snapshot!(user.loko("config validate").ends_with(0).stdout, @"~/loko.yaml is valid");
    let verdict = user.loko("config validate -o json").ends_with(0).json();
    assert_eq!(verdict, json!({"valid": true, "problems": []}));
    assert_eq!(user.made(&["loko.yaml"]), Vec::<String>::new());
}

#[test]
fn images_are_known_without_an_engine() {
    let user = User::new();
    let yaml = format!(
        "{DEV}registry: {{enabled: false}}\nworkloads: {{user: [{{name: web, image: me/web:1, http: {{port: 80}}}}]}}\n"
    );
    user.write("loko.yaml", &yaml);
    let list = user.loko("images list -o json").ends_with(0).json();
    let found = list
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["image"] == "me/web:1"));
    assert_eq!(
        found.map(|row| row["uses"].clone()),
        Some(json!(["workload web"])),
        "{list:#}"
    );
    assert!(user.loko("images list").ends_with(0).stdout.contains("kindest/node:"));
    assert_eq!(user.made(&["loko.yaml"]), Vec::<String>::new());
}

#[test]
fn problems_have_place_and_remedy_as_json() {
    let user = User::new();
    user.write("loko.yaml", "name: dev\nnetwork: {domian: dev.loko.test}\n");
    let verdict = user.loko("config validate -o json").ends_with(2).json();
    assert_eq!(verdict["valid"], false);
    let problem = &verdict["problems"][0];
    assert_eq!(problem["line"], 2);
    assert_eq!(problem["column"], 11);
    assert_eq!(problem["path"], "network.domian");
    assert!(
        problem["help"]
            .as_str()
            .is_some_and(|help| help.contains("did you mean `domain`?"))
    );
}

#[test]
fn the_file_is_found_upwards_and_named_by_option_or_variable() {
    let user = User::new();
    user.write("loko.yaml", DEV);
    user.write("a/b/note", "");
    user.write("other/other.yaml", "name: other\n");
    let name = |directory: &str, words: &str| {
        let shown = user
            .loko_in(directory, &format!("config show -o json {words}"))
            .ends_with(0);
        shown.stdout
    };
    let here = name(".", "");
    assert!(here.contains("dev.loko.test"), "{here}");
    assert_eq!(name("a/b", ""), here);
    assert_ne!(name(".", "-c other/other.yaml"), here);
    let both = user.loko("config show -c loko.yaml -e dev").ends_with(2);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
}

#[test]
fn show_says_where_each_value_comes_from() {
    let user = User::new();
    user.write("loko.yaml", DEV);
    let all = user.loko("config show -o json").ends_with(0).json();
    assert_eq!(all["values"]["network"]["domain"], "dev.loko.test");
    assert_eq!(all["from"]["network.domain"]["file"]["line"], 2, "{all}");
    assert_eq!(all["from"]["cluster.nodes.workers"], "default");
    // As YAML it can be loaded again, and has comments.
    let yaml = user.loko("config show -o yaml").ends_with(0).stdout;
    assert!(yaml.contains("domain: dev.loko.test # line 2"), "{yaml}");
    user.write("again.yaml", &yaml);
    let again = user.loko("config show -c again.yaml -o json").ends_with(0).json();
    assert_eq!(again["values"], all["values"]);
    let shown = user.loko("config show").ends_with(0).stdout;
    let row = |key: &str| {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(key));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        row("network.domain").as_deref(),
        Some("network.domain dev.loko.test line 2")
    );
    assert_eq!(
        row("cluster.nodes.workers").as_deref(),
        Some("cluster.nodes.workers 0 default")
    );
}

#[test]
fn environments_are_listed_and_chosen() {
    let user = User::new();
    assert_eq!(user.loko("env list -o json").ends_with(0).json(), json!([]));
    let unknown = user.loko("env use dev").ends_with(2);
    assert!(unknown.stderr.contains("none was created yet"), "{}", unknown.stderr);

    // As `create` leaves them.
    user.write("home/environments/dev/loko.yaml", DEV);
    user.write(
        "home/environments/shop/loko.yaml",
        "name: shop\nnetwork: {domain: shop.loko.test}\n",
    );
    user.loko("env use shop").ends_with(0);
    let listed = user.loko("env list -o json").ends_with(0).json();
    assert_eq!(
        listed,
        json!([
            {"name": "dev", "current": false, "domain": "dev.loko.test"},
            {"name": "shop", "current": true, "domain": "shop.loko.test"},
        ])
    );
    insta::assert_snapshot!(user.loko("env list").ends_with(0).stdout, @r"
       NAME  DOMAIN
       dev   dev.loko.test
    *  shop  shop.loko.test
    ");
    let unknown = user.loko("env use nobody").ends_with(2);
    assert!(unknown.stderr.contains("there are: dev, shop"), "{}", unknown.stderr);
}

#[test]
fn the_chosen_environment_is_meant_where_there_is_no_file_and_none_is_named() {
    let user = User::new();
    user.write("home/environments/dev/loko.yaml", DEV);
    user.write("home/environments/shop/loko.yaml", "name: shop\n");
    user.loko("env use dev").ends_with(0);
    let shown = |words: &str| user.loko(&format!("config show {words}")).ends_with(0).stdout;
    assert!(shown("").contains("dev.loko.test"));
    assert!(!shown("-e shop").contains("dev.loko.test"));
    user.write("loko.yaml", "name: here\nnetwork: {domain: here.loko.test}\n");
    assert!(
        !shown("").contains("dev.loko.test"),
        "a loko.yaml here comes before the chosen environment"
    );
    // A name is a path in LoKO's home, and must not lead out of it.
    let climbing = user.loko("config show -e ../../home/environments/dev").ends_with(2);
    assert!(
        climbing.stderr.contains("there is no environment"),
        "{}",
        climbing.stderr
    );
}

#[test]
fn none_is_chosen_after_use_without_a_name() {
    let user = User::new();
    user.write("home/environments/dev/loko.yaml", DEV);
    user.loko("env use dev").ends_with(0);
    user.loko("env use").ends_with(0);
    user.loko("status").ends_with(2);
}

#[test]
fn another_environments_domain_is_refused() {
    let user = User::new();
    user.write("home/environments/dev/loko.yaml", DEV);
    user.write("loko.yaml", "name: second\nnetwork: {domain: dev.loko.test}\n");
    let said = user.loko("config validate").ends_with(2);
    assert!(said.stderr.contains("dev.loko.test"), "{}", said.stderr);
}
