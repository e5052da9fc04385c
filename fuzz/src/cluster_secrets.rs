//! Secrets that are read are written and read again the same; what is refused is refused without showing it.

use loko_cluster::secrets::Secrets;

/// Reads `bytes` as a secrets.yaml.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Secrets::parse(text) {
        Ok(secrets) => {
            let again = secrets.render().map(|text| Secrets::parse(&text));
            assert_eq!(again, Ok(Ok(secrets.clone())));
            for workload in secrets.workloads() {
                let _ = secrets.object(workload, "ns");
            }
        }
        Err(error) => {
            // Place and nothing else: no line of the file is in the message.
            let message = format!("{error:?}");
            for line in text.lines().filter(|line| line.len() > 30) {
                assert!(!message.contains(line), "{message}");
            }
        }
    }
}
