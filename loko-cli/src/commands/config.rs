//! `loko config …` and `loko validate`

mod upgrade;

use loko_config::edit::Edit;
use loko_config::show::Origin;
use loko_config::{GenerateOptions, Style};
use serde::Serialize;

use crate::args::{Config, Format, Validate};
use crate::commands::{dns, port_check};
use crate::context::Context;
use crate::error::CliError;
use crate::{find, output, state};

/// Runs one of the commands.
pub(crate) async fn run(context: &Context, command: Config) -> Result<(), CliError> {
    match command {
        Config::Validate(options) => validate(context, &options),
        Config::Generate { name, domain, minimal } => {
            let style = if minimal { Style::Minimal } else { Style::Full };
            output::data(&loko_config::generate(&GenerateOptions { name, domain, style }));
            Ok(())
        }
        Config::Set { path, value } => set(context, &path, &value),
        Config::Upgrade(options) => upgrade::run(context, &options).await,
        Config::Schema => {
            output::data(&loko_config::json_schema());
            Ok(())
        }
        Config::Reference => {
            output::data(&loko_config::reference());
            Ok(())
        }
        Config::DnsCheck => dns::run_check(context).await,
        Config::Show => show(context),
        Config::PortCheck => port_check::run(context).await,
    }
}

/// Names every problem of loko.yaml; exit code 2 where there is one.
pub(crate) fn validate(context: &Context, options: &Validate) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Verdict<'a> {
        valid: bool,
        problems: &'a [loko_config::Problem],
    }
    let source = find::source(&context.global, &context.home)?;
    match find::load(&source, &context.home, options.strict) {
        Ok(loaded) => {
            let verdict = Verdict {
                valid: true,
                problems: &loaded.warnings,
            };
            output::formatted(context.global.output, &verdict, || {
                let warnings = loko_config::problem::render_text(source.path.as_str(), &loaded.warnings);
                format!("{warnings}{} is valid", source.path)
            });
            Ok(())
        }
        Err(CliError::Configuration(problems)) if context.global.output != Format::Text => {
            let verdict = Verdict {
                valid: false,
                problems: problems.list(),
            };
            output::formatted(context.global.output, &verdict, String::new);
            Err(CliError::Configuration(problems))
        }
        Err(error) => Err(error),
    }
}

/// Sets one value. The file is replaced only where the result means what was asked for.
fn set(context: &Context, path: &str, value: &str) -> Result<(), CliError> {
    let source = find::source(&context.global, &context.home)?;
    let text = String::from_utf8_lossy(&source.bytes).into_owned();
    let options = find::options(&source, &context.home, false);
    let edited = loko_config::edit::edit(
        &text,
        &Edit::Set {
            path: path.to_owned(),
            value: value.to_owned(),
        },
        &options,
    )?;
    if edited.changes.is_empty() {
        output::data(&format!("{path} is {value} already"));
        return Ok(());
    }
    state::replace(&source.path, edited.text.as_bytes())?;
    output::data(&format!("{}: {path} is {value}", source.path));
    Ok(())
}

fn show(context: &Context) -> Result<(), CliError> {
    let (_, loaded) = context.load()?;
    let shown = loaded.shown();
    // YAML has comments for it, and can be loaded as it stands.
    if context.global.output == Format::Yaml {
        output::data(&shown.to_yaml());
        return Ok(());
    }
    output::formatted(context.global.output, &shown.with_origins(), || {
        let rows = shown.lines.iter().map(|line| {
            let value = line
                .value
                .as_str()
                .map_or_else(|| line.value.to_string(), str::to_owned);
            [line.path.clone(), value, origin(&line.origin)]
        });
        output::table(["KEY", "VALUE", "FROM"], rows)
    });
    Ok(())
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::File(position) => format!("line {}", position.line),
    }
}
