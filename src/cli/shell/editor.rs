//! The line editor. It blocks while a person types, so it has a thread of its own, which asks the session's task.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use anyhow::{Context as _, Result};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc;

use super::command::COMMANDS;
use super::words;

/// Lines of history that are kept.
const HISTORY_MAX: usize = 1000;

/// What the editor asks; it waits for each answer.
pub enum Ask {
    /// A line was typed. The answer is the next prompt, or nothing to end.
    Line(String, SyncSender<Option<String>>),
    /// How can this beginning of a path go on?
    Complete(String, SyncSender<Vec<String>>),
}

/// Writes above the line that is being typed.
pub type Printer = Box<dyn ExternalPrinter + Send>;

/// Starts the editor. Its questions come out of the receiver, which closes when the person has left.
pub fn start(prompt: String) -> Result<(mpsc::Receiver<Ask>, Printer)> {
    let (asks, asks_rx) = mpsc::channel(1);
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_MAX)?
        .history_ignore_space(true)
        .auto_add_history(false)
        .build();
    let mut editor: Editor<Completing, DefaultHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Completing { asks: asks.clone() }));
    let history = std::env::home_dir().map(|home| home.join(".zabra_history"));
    if let Some(history) = &history {
        // There is none at first.
        let _ = editor.load_history(history);
    }
    let printer = editor.create_external_printer().context("the terminal cannot be written to")?;
    thread::Builder::new()
        .name("editor".to_owned())
        .spawn(move || edit(editor, prompt, &asks, history))
        .context("cannot start the line editor")?;
    Ok((asks_rx, Box::new(printer)))
}

/// Reads lines until the person leaves, or nobody listens any more.
fn edit(
    mut editor: Editor<Completing, DefaultHistory>,
    mut prompt: String,
    asks: &mpsc::Sender<Ask>,
    history: Option<PathBuf>,
) {
    loop {
        let line = match editor.readline(&prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(_) => break,
        };
        if line.trim().is_empty() {
            continue;
        }
        // A password has no place in a file.
        if !line.trim_start().starts_with("addauth") {
            let _ = editor.add_history_entry(line.as_str());
        }
        match ask(asks, |answer| Ask::Line(line, answer)).flatten() {
            Some(next) => prompt = next,
            None => break,
        }
    }
    if let Some(history) = history {
        // A home that cannot be written to is no reason to complain.
        let _ = editor.save_history(&history);
    }
}

/// Asks the session's task and waits for the answer; `None` if it is gone.
fn ask<T>(asks: &mpsc::Sender<Ask>, question: impl FnOnce(SyncSender<T>) -> Ask) -> Option<T> {
    let (answer, answer_rx) = sync_channel(1);
    asks.blocking_send(question(answer)).ok()?;
    answer_rx.recv().ok()
}

/// Completes commands and paths.
struct Completing {
    asks: mpsc::Sender<Ask>,
}

impl Helper for Completing {}
impl Highlighter for Completing {}
impl Validator for Completing {}
impl Hinter for Completing {
    type Hint = String;
}

impl Completer for Completing {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..at];
        let begins = typed.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let word = &typed[begins..];
        if typed[..begins].trim().is_empty() {
            return Ok((begins, commands(word)));
        }
        if !word.starts_with('/') {
            return Ok((begins, Vec::new()));
        }
        let paths = ask(&self.asks, |answer| Ask::Complete(word.to_owned(), answer)).unwrap_or_default();
        Ok((begins, paths.iter().map(|path| words::quoted(path)).collect()))
    }
}

/// The commands that begin with `word`.
fn commands(word: &str) -> Vec<String> {
    COMMANDS.iter().filter(|spec| spec.name.starts_with(word)).map(|spec| format!("{} ", spec.name)).collect()
}
