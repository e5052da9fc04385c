//! The reference page: every key of loko.yaml with its value, default and meaning, as Markdown.

use std::fmt::Write as _;

use crate::raw::RawFile;
use crate::read::Section;
use crate::shape::{KeyShape, Need, Shape, Tree};
use crate::variables::Variable;
use crate::write;

/// The page, made from the same types that the reader is made from.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# loko.yaml, key by key\n\n\
         Generated from the types that read the file. `name` is the only required key.\n\n\
         In strings of workloads these variables are replaced:\n",
    );
    let names: Vec<_> = Variable::ALL
        .iter()
        .map(|variable| format!("`${{{}}}`", variable.name()))
        .collect();
    out.push_str(&names.join(", "));
    out.push_str(
        ", and environment variables as `${env:NAME}` or `${env:NAME:-default}`. `$$` is a dollar. `${LOKO_IP}` is known\n\
         only when the environment runs, so it is refused in `image`, `http.hosts` and the names of charts.\n",
    );
    section("The file", &RawFile::keys(), "", &mut out);
    out
}

fn section(title: &str, keys: &[KeyShape], path: &str, out: &mut String) {
    let _ = write!(
        out,
        "\n## {title}\n\n| key | value | default | meaning |\n|---|---|---|---|\n"
    );
    for key in keys {
        let default = match &key.need {
            Need::Required => "required".to_owned(),
            Need::Optional => "–".to_owned(),
            Need::Default(_) if matches!(key.shape, Shape::Map { .. }) => "see below".to_owned(),
            Need::Default(tree) => format!("`{}`", shortened(tree)),
        };
        let words = key.shape.words();
        let doc = key.doc.lines().collect::<Vec<_>>().join(" ");
        let (words, default, doc) = (cell(&words), cell(&default), cell(&doc));
        let _ = writeln!(out, "| `{}` | {words} | {default} | {doc} |", key.key);
    }
    for key in keys {
        let path = crate::generate::join(path, key.key);
        below(&key.shape, &path, out);
    }
}

fn below(shape: &Shape, path: &str, out: &mut String) {
    match shape {
        Shape::Map { keys, .. } => section(&format!("`{path}`"), keys, path, out),
        Shape::List(item) => below(item, &format!("{path}[]"), out),
        Shape::Dict { value, .. } => below(value, &format!("{path}.*"), out),
        Shape::Either(one, other) => {
            below(one, path, out);
            below(other, path, out);
        }
        Shape::Scalar { .. } | Shape::Free { .. } => {}
    }
}

fn shortened(tree: &Tree) -> String {
    write::flow(&tree.to_json())
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
