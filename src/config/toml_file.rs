//! The same keys as TOML: tables and dotted keys are joined with dots, so `server.1 = "..."`, `"server.1" = "..."` and
//! `1 = "..."` under `[server]` all mean `server.1`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{ConfigError, Place, Problem};
use crate::membership::properties::Entry;

/// The entries in the order of the file.
pub(super) fn parse(name: &str, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        let expected = error.message().trim().replace('\n', ", ");
        ConfigError::one(name, line, format!("not valid TOML: {expected}"))
    })?;
    let mut flat = Flat { name, text, entries: Vec::new(), problems: Vec::new() };
    flat.add_table("", table.get_ref());
    if !flat.problems.is_empty() {
        flat.problems.sort_by_key(|problem| problem.place.line);
        return Err(ConfigError { problems: flat.problems });
    }
    flat.entries.sort_by_key(|entry| entry.line);
    Ok(flat.entries)
}

fn line_of(text: &str, offset: usize) -> u32 {
    let newlines = text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    u32::try_from(newlines + 1).unwrap_or(u32::MAX)
}

struct Flat<'a> {
    name: &'a str,
    text: &'a str,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl Flat<'_> {
    /// The depth is bounded by the parser, which refuses deep nesting.
    fn add_table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => self.add_table(&format!("{name}."), inner),
                _ => self.add_value(name, line_of(self.text, key.span().start), value),
            }
        }
    }

    fn add_value(&mut self, key: String, line: u32, value: &Spanned<DeValue<'_>>) {
        match scalar(value.get_ref()) {
            Some(value) => self.entries.push(Entry { key, value: value.trim().to_string(), line }),
            None => self.problems.push(Problem {
                place: Place { file: self.name.to_string(), line: Some(line) },
                text: format!(
                    "{key} is a TOML {}: expected a string, a whole number, true, false or a list of strings",
                    value.get_ref().type_str()
                ),
            }),
        }
    }
}

/// The value as zoo.cfg would have it; a list becomes one text with commas.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str();
            i64::from_str_radix(digits, number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        let entries = parse("zabra.toml", text).expect("must parse");
        entries.iter().map(|entry| format!("{} {}={}", entry.line, entry.key, entry.value)).collect()
    }

    #[test]
    fn tables_and_dotted_keys_mean_the_same() {
        let dotted = "autopurge.purgeInterval = 2\nserver.1 = \"a:1:2\"\n\"server.2\" = \"b:1:2\"\n";
        assert_eq!(parsed(dotted), ["1 autopurge.purgeInterval=2", "2 server.1=a:1:2", "3 server.2=b:1:2"]);
        let tables = "[autopurge]\npurgeInterval = 2\n[server]\n1 = \"a:1:2\"\n2 = 'b:1:2'\n";
        assert_eq!(parsed(tables), ["2 autopurge.purgeInterval=2", "4 server.1=a:1:2", "5 server.2=b:1:2"]);
    }

    #[test]
    fn values_read_as_zoo_cfg_would_have_them() {
        let text = "forceSync = true\njute.maxbuffer = 0x100\ntickTime = 2_000\n\
                    4lw.commands.whitelist = [\"srvr\", \"stat\"]\n";
        assert_eq!(
            parsed(text),
            [
                "1 forceSync=true",
                "2 jute.maxbuffer=256",
                "3 tickTime=2000",
                "4 4lw.commands.whitelist=srvr,stat"
            ]
        );
    }

    #[test]
    fn other_kinds_of_values_are_all_reported() {
        let error = parse("zabra.toml", "tickTime = 2.5\ndataDir = 2020-01-01\n").unwrap_err().to_string();
        assert_eq!(
            error,
            "zabra.toml:1: tickTime is a TOML float: \
             expected a string, a whole number, true, false or a list of strings\n\
             zabra.toml:2: dataDir is a TOML datetime: \
             expected a string, a whole number, true, false or a list of strings"
        );
    }

    #[test]
    fn bad_syntax_names_its_line() {
        let error = parse("zabra.toml", "tickTime = 2000\nclientPort = \n").unwrap_err().to_string();
        assert!(error.starts_with("zabra.toml:2: not valid TOML: "), "{error}");
        let error = parse("zabra.toml", "a = 1\na = 2\n").unwrap_err().to_string();
        assert!(error.starts_with("zabra.toml:2: not valid TOML: duplicate key"), "{error}");
    }
}
