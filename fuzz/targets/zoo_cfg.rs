//! Any text as a configuration: settings or an error with a place, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zabra::config::{Format, Source, parse_text};
use zabra_fuzz::memory::{Bound, bounded};

/// Every line may be an unknown key, for which the nearest known one is looked up and a sentence is made.
const BOUND: Bound = Bound { constant_bytes: 64 << 10, factor: 512 };

fuzz_target!(|data: (bool, bool, Option<u8>, &str)| {
    let (is_toml, strict, myid, text) = data;
    bounded(BOUND, text.len(), || judge(is_toml, strict, myid, text));
});

fn judge(is_toml: bool, strict: bool, myid: Option<u8>, text: &str) {
    let format = if is_toml { Format::Toml } else { Format::Properties };
    match parse_text(&Source { name: "fuzz", text, format, myid, strict }) {
        Ok(loaded) => {
            assert!(!loaded.settings.voters().is_empty());
            assert!(!loaded.settings.conf_text(&loaded.settings.membership(), 0, 0).is_empty());
        }
        Err(error) => assert!(!error.problems.is_empty()),
    }
}
