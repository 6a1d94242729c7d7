//! Any text as a configuration: settings or an error with a place, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zabra::config::{Format, Source, parse_text};

fuzz_target!(|data: (bool, bool, Option<u8>, &str)| {
    let (is_toml, strict, myid, text) = data;
    let format = if is_toml { Format::Toml } else { Format::Properties };
    match parse_text(&Source { name: "fuzz", text, format, myid, strict }) {
        Ok(loaded) => {
            assert!(!loaded.settings.voters().is_empty());
            assert!(!loaded.settings.conf_text(0, 0).is_empty());
        }
        Err(error) => assert!(!error.problems.is_empty()),
    }
});
