//! Loading any bytes gives an environment or problems, never a panic, and what it gives is sound.

use loko_config::{Facts, LoadOptions, load, load_bytes};

/// Loads `bytes`. Problems must lie in the text and serialise; an environment must survive `config show` and expand.
pub fn check(bytes: &[u8]) {
    let options = LoadOptions::default();
    match load_bytes(bytes, &options) {
        Err(problems) => {
            assert!(!problems.list().is_empty(), "refused without a reason");
            for problem in problems.list() {
                let text = problems.text();
                assert!(problem.span.end <= text.len(), "{problem} points outside");
                assert!(
                    text.is_char_boundary(problem.span.start),
                    "{problem} points into a character"
                );
                assert!(text.is_char_boundary(problem.span.end), "{problem} ends in a character");
                assert!(problem.position.line >= 1 && problem.position.column >= 1);
                assert!(problem.code().starts_with("loko::config::"));
            }
            let _ = problems.to_text();
        }
        Ok(loaded) => {
            let shown = loaded.shown().to_yaml();
            match load(&shown, &options) {
                Ok(again) => assert_eq!(again.environment, loaded.environment, "{shown}"),
                Err(problems) => panic!(
                    "what `config show` prints does not load:\n{}\n{shown}",
                    problems.to_text()
                ),
            }
            let facts = Facts {
                ip: [127, 0, 0, 1].into(),
                environment_variables: options.environment_variables,
            };
            assert!(
                loaded.environment.expand(&facts).is_ok(),
                "a checked template does not expand"
            );
        }
    }
}
