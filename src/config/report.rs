//! What the user is told: errors that stop the start, notices that do not.

use std::fmt;
use std::io;

/// Where something was read: a file, and its line where there is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// Counted from 1; `None` if the remark is about the file as a whole, such as a key it lacks.
    pub line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// One thing that must be changed before the server can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where to change it.
    pub place: Place,
    /// What stands there, and what was expected instead.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Why a configuration cannot be used: every problem that was found, in the order of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// The error of a single problem.
    pub(super) fn one(file: &str, line: Option<u32>, text: String) -> ConfigError {
        ConfigError { problems: vec![Problem { place: Place { file: file.to_string(), line }, text }] }
    }

    pub(super) fn unreadable(file: &str, error: &io::Error) -> ConfigError {
        ConfigError::one(file, None, format!("cannot be read: {error}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Info,
    /// The user may have meant something else.
    Warning,
}

/// One line for the log about something in the file that does not stop the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The log level.
    pub severity: Severity,
    /// What it is about.
    pub place: Place,
    /// The remark, one line.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_one_problem_per_line_with_its_place() {
        let mut error = ConfigError::one("zoo.cfg", Some(7), "clientPort=x".to_string());
        error.problems.extend(ConfigError::one("zoo.cfg", None, "dataDir is not set".to_string()).problems);
        assert_eq!(error.to_string(), "zoo.cfg:7: clientPort=x\nzoo.cfg: dataDir is not set");
    }
}
