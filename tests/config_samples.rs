//! The files in `config/` load without a remark, and say the truth about defaults.

use std::path::{Path, PathBuf};

use zabra::config::{Format, Settings, Source, load, parse_text};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn text_of(sample: &str) -> String {
    std::fs::read_to_string(samples().join(sample)).expect("the sample can be read")
}

fn parse(sample: &str, text: &str) -> Settings {
    let format = Format::of(Path::new(sample));
    let source = Source { name: sample, text, format, myid: Some(1), strict: true };
    let loaded = parse_text(&source).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.notices, []);
    loaded.settings
}

#[test]
fn every_sample_loads_strictly_and_without_a_notice() {
    let mut count = 0;
    for entry in std::fs::read_dir(samples()).expect("config/ can be listed") {
        let path = entry.expect("config/ can be listed").path();
        let loaded = load(&path, Some(1), true).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.notices, [], "{}", path.display());
        count += 1;
    }
    assert!(count >= 3, "{count} samples in config/");
}

#[test]
fn the_standalone_sample_is_what_a_server_does_without_a_file() {
    let without_file = Settings { server_id: zabra::ids::ServerId(1), ..Settings::standalone_default() };
    assert_eq!(parse("standalone.cfg", &text_of("standalone.cfg")), without_file);
}

/// Every `#key=value` line turned into `key=value`.
fn with_defaults_written_out(text: &str) -> String {
    let is_key = |line: &str| line.split_once('=').is_some_and(|(key, _)| !key.contains(' '));
    let shown = |line: &&str| line.strip_prefix('#').is_some_and(is_key);
    let lines: Vec<&str> = text.lines().map(|line| if shown(&line) { &line[1..] } else { line }).collect();
    lines.join("\n")
}

#[test]
fn the_defaults_shown_in_the_ensemble_sample_are_the_defaults() {
    let text = text_of("ensemble.cfg");
    let mut settings = parse("ensemble.cfg", &text);
    let written_out = with_defaults_written_out(&text);
    assert!(written_out.contains("\npeerTimeoutMs=500\n"), "the defaults were not written out");
    // The whitelist `srvr` answers the same words as none.
    settings.four_letter_words.listed.insert("srvr".to_string());
    assert_eq!(parse("ensemble.cfg", &written_out), settings);
}

#[test]
fn the_toml_sample_is_the_same_ensemble() {
    let mut from_toml = parse("ensemble.toml", &text_of("ensemble.toml"));
    assert!(from_toml.four_letter_words.allows("ruok"));
    let from_cfg = parse("ensemble.cfg", &text_of("ensemble.cfg"));
    from_toml.four_letter_words = from_cfg.four_letter_words.clone();
    assert_eq!(from_toml, from_cfg);
}
