//! The workloads' secrets: made once, kept in the home for the user alone.

use loko_cluster::secrets::Secrets;

use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::state;

/// Those that were made before.
pub(crate) fn read(context: &Context, environment: &str) -> Result<Secrets, CliError> {
    match state::read(&context.home.secrets(environment))? {
        Some(text) => Ok(Secrets::parse(&text)?),
        None => Ok(Secrets::default()),
    }
}

/// Makes the secrets of a workload anew, and writes them. Returns the names of the fields.
pub(crate) fn rotate(context: &Context, platform: &Platform, workload: &str) -> Result<Vec<String>, CliError> {
    let name = platform.environment.name.as_str();
    let mut secrets = read(context, name)?;
    let Some(service) = platform
        .services
        .get(workload)
        .filter(|service| !service.recipes.is_empty())
    else {
        return Err(CliError::Usage {
            message: format!("`{workload}` has no secrets in {name}"),
            help: "`loko secrets show` lists those that there are".to_owned(),
        });
    };
    if service.rotation.is_none() {
        return Err(CliError::Usage {
            message: format!("`{workload}` keeps its secrets in its data, and would not follow"),
            help: format!(
                "change them in {workload} itself, then in {}; or make it anew without its data: `loko workloads remove {workload} \
                 --data`, then add it again",
                context.home.secrets(name)
            ),
        });
    }
    let mut failed = None;
    let mut random = |buffer: &mut [u8]| {
        if let Err(error) = getrandom::fill(buffer) {
            failed = Some(error);
        }
    };
    let made = secrets.rotate(workload, &service.recipes, &mut random)?;
    if let Some(error) = failed {
        return Err(not_random(error));
    }
    state::write(&context.home.secrets(name), secrets.render()?.as_bytes(), true)?;
    Ok(made)
}

/// Nothing is kept that was made from numbers that are not random.
fn not_random(error: getrandom::Error) -> CliError {
    CliError::Usage {
        message: format!("the system gives no random numbers: {error}"),
        help: "secrets cannot be made without; try again".to_owned(),
    }
}

/// Those that were made before, with what is missing made and written. Returns the names of what was made, `workload.field`.
pub(crate) fn ensure(context: &Context, platform: &Platform) -> Result<(Secrets, Vec<String>), CliError> {
    let (secrets, made) = ahead(context, platform)?;
    if !made.is_empty() {
        let path = context.home.secrets(platform.environment.name.as_str());
        state::write(&path, secrets.render()?.as_bytes(), true)?;
    }
    Ok((secrets, made))
}

/// As [`ensure`], in memory alone.
pub(crate) fn ahead(context: &Context, platform: &Platform) -> Result<(Secrets, Vec<String>), CliError> {
    let name = platform.environment.name.as_str();
    let mut secrets = read(context, name)?;
    let mut made = Vec::new();
    let mut failed = None;
    let mut random = |buffer: &mut [u8]| {
        if let Err(error) = getrandom::fill(buffer) {
            failed = Some(error);
        }
    };
    for (workload, service) in &platform.services {
        let fields = secrets.ensure(workload, &service.recipes, &mut random)?;
        made.extend(fields.into_iter().map(|field| format!("{workload}.{field}")));
    }
    if let Some(error) = failed {
        return Err(not_random(error));
    }
    Ok((secrets, made))
}
