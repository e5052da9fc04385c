use serde_json::{Value, json};

use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn amd64() -> Platform {
    Platform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        variant: None,
    }
}

fn wanted(reference: &str) -> Wanted {
    Wanted {
        reference: reference.to_owned(),
        name: format!("docker.io/library/{reference}"),
        extra: false,
    }
}

#[derive(Default)]
struct Made(Parts);

impl Made {
    fn blob(&mut self, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        self.0.sizes.insert(digest.clone(), content.len() as u64);
        json!({"mediaType": "layer", "digest": digest, "size": content.len()})
    }

    fn document(&mut self, media_type: &str, value: &Value) -> Value {
        let bytes = value.to_string().into_bytes();
        let mut descriptor = self.blob(&bytes);
        descriptor["mediaType"] = media_type.into();
        self.0.documents.insert(Digest::of(&bytes), bytes);
        descriptor
    }

    fn image(&mut self, architecture: &str, layers: &[&str]) -> Value {
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(layer.as_bytes())).collect();
        let config = self.document("config", &json!({"architecture": architecture, "of": layers}));
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let mut descriptor = self.document(MANIFEST, &manifest);
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }

    fn index(&mut self, children: &[Value]) -> Descriptor {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": children});
        descriptor(self.document(INDEX_TYPE, &index))
    }
}

fn descriptor(value: Value) -> Descriptor {
    serde_json::from_value(value).unwrap()
}

fn contents(images: Vec<Bundled>) -> Contents {
    Contents {
        format: FORMAT,
        version: "0.1.0".to_owned(),
        environment: "dev".to_owned(),
        platform: amd64(),
        images,
    }
}

#[test]
fn a_layer_that_two_images_share_is_sent_once() {
    let mut made = Made::default();
    let (a, b) = (made.image("amd64", &["base", "a"]), made.image("amd64", &["base", "b"]));
    let image = |name: &str, root| made.0.bundled(&wanted(name), &descriptor(root), &amd64()).unwrap();
    let all = contents(vec![image("a:1", a), image("b:1", b)]);
    let selection = all.select(&all.names());
    // Two manifests, two configurations, three layers.
    assert_eq!(selection.parts.len(), 7);
    let one = all.select(&BTreeSet::from(["docker.io/library/a:1".to_owned()]));
    assert_eq!(one.parts.len(), 4);
    assert_eq!(one.parts, all.images[0].parts);
    let docker: Value = serde_json::from_slice(&one.docker).unwrap();
    let layers: Vec<String> = [b"base".as_slice(), b"a"].map(|it| path(&Digest::of(it))).into();
    assert_eq!(docker[0]["Layers"], json!(layers));
    assert_eq!(docker[0]["RepoTags"], json!(["docker.io/library/a:1"]));
    let index: Value = serde_json::from_slice(&one.index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    let annotations = &index["manifests"][0]["annotations"];
    assert_eq!(annotations[NAME], "docker.io/library/a:1");
    assert_eq!(annotations[REF_NAME], "1");
}

#[test]
fn an_index_stays_where_it_is_whole_and_becomes_its_platforms_image_where_not() {
    let mut made = Made::default();
    let (amd, arm) = (made.image("amd64", &["x"]), made.image("arm64", &["y"]));
    let root = made.index(&[amd.clone(), arm.clone()]);
    let bundled = made.0.bundled(&wanted("a:1"), &root, &amd64()).unwrap();
    assert_eq!((&bundled.root, bundled.parts.len()), (&root, 7));
    assert_eq!(bundled.layers, [Digest::of(b"x")]);
    made.0.sizes.remove(&Digest::of(b"y"));
    let bundled = made.0.bundled(&wanted("a:1"), &root, &amd64()).unwrap();
    assert_eq!(bundled.root.digest, descriptor(amd).digest);
    assert_eq!(bundled.parts.len(), 3);
    made.0.sizes.remove(&Digest::of(b"x"));
    assert_eq!(
        made.0.bundled(&wanted("a:1"), &root, &amd64()),
        Err(BundleError::Incomplete {
            image: "a:1".to_owned(),
            digest: Digest::of(b"x").to_string(),
        })
    );
    let arm_only = made.index(&[arm]);
    let error = made.0.bundled(&wanted("a:1"), &arm_only, &amd64()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the engine has a:1 only in part: linux/amd64 is missing"
    );
}

#[test]
fn an_image_is_found_by_either_kind_of_id() {
    let mut made = Made::default();
    let amd = descriptor(made.image("amd64", &["x"]));
    let other = made.image("arm64", &["y"]);
    let root = made.index(&[other]);
    let config = made.0.bundled(&wanted("a:1"), &amd, &amd64()).unwrap().config;
    for id in [&amd.digest, &config] {
        assert_eq!(made.0.root_of(id).map(|it| it.digest), Some(amd.digest.clone()));
    }
    assert_eq!(made.0.root_of(&root.digest).unwrap().media_type, INDEX_TYPE);
    assert_eq!(made.0.root_of(&Digest::of(b"x")), None);
}

#[test]
fn a_name_that_is_a_digest_is_no_tag() {
    let mut made = Made::default();
    let root = descriptor(made.image("amd64", &["x"]));
    let image = Wanted {
        reference: "a".to_owned(),
        name: format!("docker.io/library/a@{}", root.digest),
        extra: false,
    };
    let all = contents(vec![made.0.bundled(&image, &root, &amd64()).unwrap()]);
    let selection = all.select(&all.names());
    let docker: Value = serde_json::from_slice(&selection.docker).unwrap();
    assert_eq!(docker[0]["RepoTags"], json!([]));
    let index: Value = serde_json::from_slice(&selection.index).unwrap();
    assert_eq!(index["manifests"][0]["annotations"][NAME], image.name);
}

#[test]
fn what_is_of_another_kind_or_newer_is_refused() {
    let all = contents(Vec::new());
    assert_eq!(all.runs_on("f", "x86_64"), Ok(()));
    assert_eq!(
        all.runs_on("f", "aarch64").unwrap_err().to_string(),
        "the bundle f is for linux/amd64, and the engine runs linux/arm64"
    );
    let mut text = serde_json::to_value(&all).unwrap();
    assert_eq!(Contents::parse("f", text.to_string().as_bytes()), Ok(all));
    text["format"] = (FORMAT + 1).into();
    text["images"] = "another form".into();
    assert!(matches!(
        Contents::parse("f", text.to_string().as_bytes()),
        Err(BundleError::Newer { format, .. }) if format == FORMAT + 1
    ));
    assert!(matches!(Contents::parse("f", b"{"), Err(BundleError::Contents { .. })));
}

proptest::proptest! {
    #[test]
    fn a_path_leads_back_to_its_digest(content in ".*") {
        let digest = Digest::of(content.as_bytes());
        proptest::prop_assert_eq!(digest_at(&path(&digest)), Some(digest));
    }
}
