//! `loko registry repos`, `tags`, `show`

use loko_config::model::RegistryEngine;
use loko_config::names::ImageRef;
use loko_registry::Inventory;
use loko_registry::oci::Repository;
use serde::Serialize;

use super::{At, Page, size, tell_next};
use crate::error::CliError;
use crate::output;

/// A repository as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Row {
    /// As it is named in the registry, or, where its mirror is a program of its own, as users name it.
    pub(super) name: String,
    /// The source that it is a mirror of; `None`: it was pushed.
    pub(super) source: Option<String>,
    /// How many tags it has; `None` where only the upstream would know.
    pub(super) tags: Option<usize>,
    /// In bytes; `None`: nobody says.
    pub(super) size: Option<u64>,
}

/// All repositories, sorted by name: the registry's own, and those of mirrors that are programs of their own. A mirror that
/// does not answer is said and left out.
pub(super) async fn rows(at: At<'_>) -> Result<Vec<Row>, CliError> {
    let inventory = at.client()?.inventory(at.spec).await?;
    let mut rows = of_inventory(inventory);
    if at.spec.engine == RegistryEngine::Distribution {
        for source in &at.spec.sources {
            match at.mirrored_by(source).await {
                Ok(names) => rows.extend(names.iter().map(|name| Row {
                    name: format!("{}/{name}", source.namespace),
                    source: Some(source.name.clone()),
                    tags: None,
                    size: None,
                })),
                Err(error) => at
                    .context
                    .progress
                    .say(&format!("the mirror of {} does not answer: {error}", source.name)),
            }
        }
    }
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(rows)
}

/// Repositories that have tags: of one whose last tag was removed only the name is left.
fn of_inventory(inventory: Inventory) -> Vec<Row> {
    let there = inventory.repositories.into_iter().filter(|it| !it.tags.is_empty());
    there
        .map(|it| Row {
            name: it.name.as_str().to_owned(),
            source: it.source,
            tags: Some(it.tags.len()),
            size: it.size,
        })
        .collect()
}

/// `loko registry repos`
pub(super) async fn repositories(at: At<'_>, page: &Page, local: bool, source: Option<&str>) -> Result<(), CliError> {
    if let Some(wanted) = source.filter(|name| at.spec.sources.iter().all(|source| source.name != *name)) {
        let there: Vec<&str> = at.spec.sources.iter().map(|source| source.name.as_str()).collect();
        return Err(CliError::Usage {
            message: format!("nothing is mirrored from `{wanted}`"),
            help: match there.as_slice() {
                [] => "mirroring is off; `registry.mirroring` in loko.yaml switches it on".to_owned(),
                there => format!("there are: {}", there.join(", ")),
            },
        });
    }
    let mut rows = rows(at).await?;
    rows.retain(|row| match (local, source) {
        (true, _) => row.source.is_none(),
        (false, Some(wanted)) => row.source.as_deref() == Some(wanted),
        (false, None) => true,
    });
    let (rows, next) = page.of(rows, |row| &row.name);
    output::formatted(at.context.global.output, &rows, || {
        let unknown = || "-".to_owned();
        let line = |row: &Row| {
            [
                row.name.clone(),
                row.source.clone().unwrap_or_else(|| "pushed".to_owned()),
                row.tags.map_or_else(unknown, |count| count.to_string()),
                row.size.map_or_else(unknown, size),
            ]
        };
        output::table(["REPOSITORY", "FROM", "TAGS", "SIZE"], rows.iter().map(line))
    });
    tell_next(at.context, next.as_deref());
    Ok(())
}

/// `loko registry tags`
pub(super) async fn tags(at: At<'_>, repository: &ImageRef, page: &Page) -> Result<(), CliError> {
    let (repository, _) = at.place(repository)?;
    let mut tags = at.client()?.tags(&repository).await?;
    tags.sort();
    let (tags, next) = page.of(tags, |tag| tag);
    output::formatted(at.context.global.output, &tags, || tags.join("\n"));
    tell_next(at.context, next.as_deref());
    Ok(())
}

/// `loko registry show`
pub(super) async fn show(at: At<'_>, image: &ImageRef) -> Result<(), CliError> {
    let (repository, reference) = at.place(image)?;
    let summary = at.client()?.show(&repository, &reference).await?;
    let source = at.spec.source_of(&repository).map(|source| source.name.clone());
    let shown = Shown {
        reference: format!(
            "{}/{}",
            at.spec.reference_host(),
            named(&repository, &reference.to_string())
        ),
        source,
        summary,
    };
    output::formatted(at.context.global.output, &shown, || {
        let summary = &shown.summary;
        let mut rows = vec![
            ["image".to_owned(), shown.reference.clone()],
            [
                "from".to_owned(),
                shown.source.clone().unwrap_or_else(|| "pushed".to_owned()),
            ],
            ["digest".to_owned(), summary.digest.to_string()],
            ["type".to_owned(), summary.media_type.clone()],
            ["size".to_owned(), size(summary.size)],
        ];
        rows.extend(
            summary
                .artifact_type
                .iter()
                .map(|it| ["artifact".to_owned(), it.clone()]),
        );
        rows.extend(summary.variants.iter().map(|variant| {
            let platform = variant
                .platform
                .as_ref()
                .map_or("any platform".to_owned(), ToString::to_string);
            let there = variant.size.map_or("not here".to_owned(), size);
            [platform, format!("{} {there}", variant.digest)]
        }));
        output::table(["WHAT", "IS"], rows)
    });
    Ok(())
}

/// What cannot be taken away by the registry's own interface.
pub(super) fn tell_of_mirrors(at: At<'_>) {
    if at.spec.engine == RegistryEngine::Distribution && !at.spec.sources.is_empty() {
        at.context
            .progress
            .say("what distribution mirrors stays: its mirrors take nothing away when asked");
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    reference: String,
    source: Option<String>,
    #[serde(flatten)]
    summary: loko_registry::ImageSummary,
}

/// `app:1`, `app@sha256:…`
pub(super) fn named(repository: &Repository, reference: &str) -> String {
    let separator = if reference.contains(':') { '@' } else { ':' };
    format!("{}{separator}{reference}", repository.as_str())
}

#[cfg(test)]
mod tests {
    use loko_registry::inventory::RepositorySummary;

    use super::*;

    #[test]
    fn a_repository_without_tags_is_not_listed() {
        let summary = |name: &str, tags: &[&str]| RepositorySummary {
            name: name.parse().unwrap(),
            source: None,
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            size: Some(7),
        };
        let rows = of_inventory(Inventory::of(vec![summary("gone", &[]), summary("app", &["1", "2"])]));
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].name.as_str(), rows[0].tags), ("app", Some(2)));
    }

    #[test]
    fn a_digest_follows_an_at_and_a_tag_a_colon() {
        let app = "me/app".parse().unwrap();
        assert_eq!(named(&app, "1"), "me/app:1");
        assert_eq!(named(&app, "sha256:ab"), "me/app@sha256:ab");
    }
}
