//! The command line; the environment goes through the same parsers.

use clap::Parser;

use crate::config::Config;

/// Words that are separated by zeros.
pub(super) fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let words = std::iter::once("operator").chain(text.split('\0'));
    match Config::try_parse_from(words) {
        Ok(config) => {
            let timing = config.timing();
            // What passes must work: a holder stops before another may begin.
            if timing.fault().is_none() {
                assert!(timing.renew_deadline < timing.duration && !timing.call_deadline().is_zero());
            }
            assert!(!config.identity().is_empty() && !config.watched().is_empty());
            let _ = (config.limits(), config.downscale_stabilization());
        }
        // It says which and what is possible; whether to stdout or stderr is its own matter.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
