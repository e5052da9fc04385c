//! Writes the configuration of a registry to a directory, so that it can be run on 127.0.0.1 without a cluster:
//! `local zot|distribution DIRECTORY PORT [UPSTREAM]`. With an upstream, that is what it mirrors, as Docker Hub. The certificate is
//! looked for in `DIRECTORY/tls`. Prints one line for each program to run: its port and its configuration.
#![expect(clippy::print_stdout, reason = "it prints")]

use std::collections::BTreeMap;
use std::error::Error;

use loko_config::model::{MirrorSource, RegistryEngine};
use loko_registry::{RegistrySpec, Source, distribution, zot};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, directory, port, upstream @ ..] = arguments.as_slice() else {
        return Err("local zot|distribution DIRECTORY PORT [UPSTREAM]".into());
    };
    let port: u16 = port.parse()?;
    let engine = match engine.as_str() {
        "zot" => RegistryEngine::Zot,
        "distribution" => RegistryEngine::Distribution,
        other => return Err(format!("{other} is neither zot nor distribution").into()),
    };
    let hub = Source::known(MirrorSource::DockerHub);
    let spec = RegistrySpec {
        engine,
        image: String::new(),
        version: "v2.1.20".to_owned(),
        host: "127.0.0.1".to_owned(),
        https_port: port,
        sources: upstream
            .iter()
            .map(|url| Source {
                url: url.clone(),
                ..hub.clone()
            })
            .collect(),
        scanning: None,
        credentials: BTreeMap::new(),
    };
    let write = |name: &str, port: u16, text: &str| -> Result<(), Box<dyn Error>> {
        let text = text.replace("/var/lib/registry", &format!("{directory}/data"));
        let path = format!("{directory}/{name}");
        fs_err::write(&path, text.replace("/etc/loko/tls", &format!("{directory}/tls")))?;
        println!("{port} {path}");
        Ok(())
    };
    if engine == RegistryEngine::Zot {
        let mut config = zot::Config::of(&spec);
        config.http.address = "127.0.0.1";
        config.http.port = port.to_string();
        return write(zot::CONFIG_FILE, port, &config.render());
    }
    for (offset, instance) in (0..).zip(distribution::instances(&spec)) {
        let here = port + offset;
        let address = (
            format!("addr: :{}\n", instance.port),
            format!("addr: 127.0.0.1:{here}\n"),
        );
        let text = instance.config.render().replace(&address.0, &address.1);
        write(&format!("{}.yml", instance.name), here, &text)?;
    }
    Ok(())
}
