use proptest::prelude::*;

use super::*;

/// Numbers that look random and are the same in each run (a linear congruential generator, Knuth's constants).
fn numbers(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |buffer| {
        for byte in buffer {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
        }
    }
}

fn recipes(yaml: &str) -> BTreeMap<String, Recipe> {
    serde_yaml::from_str(yaml).unwrap()
}

const ALL: &str = "
password: {kind: password}
pin: {kind: password, length: 6, charset: digits}
key: {kind: hex, bytes: 12, prefix: GK}
token: {kind: token}
id: {kind: uuid}
auth: {kind: htpasswd, user: admin, password: password}
";

#[test]
fn each_kind_has_its_form() {
    let mut secrets = Secrets::default();
    let made = secrets.ensure("store", &recipes(ALL), &mut numbers(1)).unwrap();
    assert_eq!(
        made,
        ["id", "key", "password", "pin", "token", "auth"],
        "what is derived comes last"
    );
    let get = |field| secrets.get("store", field).unwrap().reveal();
    assert_eq!(get("password").len(), 24);
    assert!(get("password").starts_with(|c: char| c.is_ascii_alphabetic()));
    assert!(get("pin").len() == 6 && get("pin").chars().all(|c| c.is_ascii_digit()));
    assert!(get("key").starts_with("GK") && get("key").len() == 26);
    assert_eq!(get("token").len(), 43);
    assert_eq!(get("id").len(), 36);
    assert_eq!(&get("id")[14..15], "4");
    let hash = get("auth").strip_prefix("admin:").unwrap();
    assert!(hash.starts_with("$2y$10$"), "{hash}");
    assert!(bcrypt::verify(get("password"), hash).unwrap());
}

#[test]
fn what_is_there_stays_and_what_is_missing_is_added() {
    let mut secrets = Secrets::default();
    let first = recipes("password: {kind: password}");
    secrets.ensure("db", &first, &mut numbers(1)).unwrap();
    let before = secrets.get("db", "password").cloned();
    let more = recipes("password: {kind: password, length: 99}\ntoken: {kind: token}");
    assert_eq!(secrets.ensure("db", &more, &mut numbers(2)).unwrap(), ["token"]);
    assert_eq!(secrets.get("db", "password").cloned(), before);
    assert_eq!(secrets.ensure("db", &more, &mut numbers(3)).unwrap(), [""; 0]);
}

#[test]
fn a_rotation_remakes_what_hangs_together_and_leaves_the_rest() {
    let mut secrets = Secrets::default();
    secrets.ensure("db", &recipes(ALL), &mut numbers(1)).unwrap();
    let before = secrets.clone();
    let some = recipes("password: {kind: password}\nauth: {kind: htpasswd, user: admin, password: password}");
    assert_eq!(
        secrets.rotate("db", &some, &mut numbers(2)).unwrap(),
        ["password", "auth"]
    );
    assert_ne!(secrets.get("db", "password"), before.get("db", "password"));
    assert_eq!(secrets.get("db", "token"), before.get("db", "token"));
    let hash = secrets
        .get("db", "auth")
        .unwrap()
        .reveal()
        .strip_prefix("admin:")
        .unwrap()
        .to_owned();
    assert!(bcrypt::verify(secrets.get("db", "password").unwrap().reveal(), &hash).unwrap());

    let broken = recipes("password: {kind: password}\nauth: {kind: htpasswd, user: a, password: other}");
    let kept = secrets.clone();
    let error = secrets.rotate("db", &broken, &mut numbers(3)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "make the secret `auth` of `db`: it is made from `other`, which is not there"
    );
    assert_eq!(secrets, kept, "nothing changes where an error is given");
}

#[test]
fn a_recipe_with_a_key_that_is_unknown_is_refused() {
    assert!(serde_yaml::from_str::<Recipe>("{kind: password, lenght: 3}").is_err());
}

#[test]
fn nothing_shows_a_secret_by_itself() {
    let mut secrets = Secrets::default();
    secrets.ensure("db", &recipes(ALL), &mut numbers(1)).unwrap();
    assert_eq!(format!("{:?}", secrets.get("db", "password").unwrap()), "Secret(…)");
    let error = Secrets::parse("db: {password: [hunter2]}").unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
    let error = Secrets::parse("db: hunter2").unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn the_object_has_one_key_for_each_field() {
    let secrets = Secrets::parse("db: {password: abc, user: '1'}").unwrap();
    insta::assert_yaml_snapshot!(secrets.object("db", "loko-workloads").unwrap().unwrap());
    assert_eq!(secrets.object("web", "loko-workloads").unwrap(), None);
}

#[test]
fn the_file_says_what_it_is() {
    let mut secrets = Secrets::default();
    secrets
        .ensure("db", &recipes("password: {kind: password}"), &mut numbers(1))
        .unwrap();
    insta::assert_snapshot!(secrets.render().unwrap());
    assert_eq!(Secrets::parse("").unwrap(), Secrets::default());
    assert_eq!(Secrets::parse("# nothing\n").unwrap(), Secrets::default());
}

proptest! {
    #[test]
    fn what_is_written_is_read(map in prop::collection::btree_map("[a-z]{1,8}", prop::collection::btree_map("[a-z]{1,8}", any::<String>(), 0..4), 0..4)) {
        let map: BTreeMap<_, BTreeMap<_, _>> = map
            .into_iter()
            .map(|(workload, fields)| (workload, fields.into_iter().map(|(field, value)| (field, Secret::new(value))).collect()))
            .collect();
        let secrets = Secrets(map);
        prop_assert_eq!(Secrets::parse(&secrets.render().unwrap()).unwrap(), secrets);
    }

    #[test]
    fn a_password_of_any_length_keeps_its_promises(length in 3_u8..100, seed in any::<u64>()) {
        let recipes = BTreeMap::from([("p".to_owned(), Recipe::Password { length, charset: Charset::Alphanumeric })]);
        let mut secrets = Secrets::default();
        secrets.ensure("w", &recipes, &mut numbers(seed)).unwrap();
        let password = secrets.get("w", "p").unwrap().reveal();
        prop_assert_eq!(password.len(), usize::from(length));
        let has = |test: fn(&char) -> bool| password.chars().any(|c| test(&c));
        prop_assert!(has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase) && has(char::is_ascii_digit));
        prop_assert!(password.starts_with(|c: char| c.is_ascii_alphabetic()));
    }
}
