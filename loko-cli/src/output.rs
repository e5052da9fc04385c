//! Standard output is data, standard error is talk; both are written here and nowhere else.

use std::io::Write as _;

use serde::Serialize;

use crate::args::Format;

/// Data, with a line end. A reader that has gone away is not an error.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// Talk, with a line end.
pub(crate) fn talk(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{}", text.trim_end_matches('\n'));
}

/// Data in the format that was asked for; `text` makes the one for people.
pub(crate) fn formatted<T: Serialize>(format: Format, value: &T, text: impl FnOnce() -> String) {
    match format {
        Format::Text => data(&text()),
        Format::Json => data(&serde_json::to_string_pretty(value).unwrap_or_default()),
        Format::Yaml => data(&loko_config::to_yaml(&serde_json::to_value(value).unwrap_or_default())),
    }
}

/// A table without borders, as `docker ps` and `kubectl get` print theirs.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table
        .lines()
        .map(|line| line.trim_end().strip_prefix(' ').unwrap_or_default().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Chooses how errors are drawn and how much is logged.
pub(crate) fn set_up(verbose: u8, color: bool) {
    let theme = if color {
        miette::GraphicalTheme::unicode()
    } else {
        miette::GraphicalTheme::unicode_nocolor()
    };
    let handler = move |_: &dyn miette::Diagnostic| -> Box<dyn miette::ReportHandler> {
        Box::new(miette::GraphicalReportHandler::new_themed(theme.clone()).with_links(false))
    };
    // TLS by ring everywhere; a provider that is installed already is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Only the first call counts, and this is it.
    let _ = miette::set_hook(Box::new(move |error| handler(error)));
    let level = match verbose {
        0 => "off",
        1 => "loko=debug,loko_cluster=debug,loko_engine=debug,loko_dns=debug,loko_haproxy=debug",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("LOKO_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .init();
}

/// An error: what failed, why, and what to do.
pub(crate) fn error(error: crate::error::CliError) {
    talk(&format!("{:?}", miette::Report::new(error)));
}
