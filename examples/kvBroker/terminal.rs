//! Lines from a terminal: editing, completion of the verbs, history.

use std::path::PathBuf;
use std::{env, fs, io};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use crate::lines::Line;

pub(crate) struct Terminal {
    editor: Editor<Verbs, DefaultHistory>,
    /// Where the history is kept between sessions.
    history: Option<PathBuf>,
}

impl Terminal {
    pub(crate) fn open() -> io::Result<Self> {
        let mut editor = Editor::new().map_err(io::Error::other)?;
        editor.set_helper(Some(Verbs));
        let history = history_file();
        if let Some(history) = &history {
            // There is none before the first session.
            let _ = editor.load_history(history);
        }
        Ok(Self { editor, history })
    }

    pub(crate) fn next(&mut self, prompt: &str) -> io::Result<Line> {
        match self.editor.readline(prompt) {
            Ok(line) => {
                self.remember(&line);
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Ok(Line::NotUtf8)
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Adds the line to the history. That is a convenience: without it the session goes on.
    fn remember(&mut self, line: &str) {
        let added = self.editor.add_history_entry(line).unwrap_or(false);
        if let (true, Some(history)) = (added, &self.history) {
            let _ = self.editor.append_history(history);
        }
    }
}

/// A file below `XDG_STATE_HOME`, if that is set.
fn history_file() -> Option<PathBuf> {
    let directory = PathBuf::from(env::var_os("XDG_STATE_HOME")?).join("triekv");
    fs::create_dir_all(&directory).ok()?;
    Some(directory.join("history"))
}

/// Completes the first word.
struct Verbs;

impl Completer for Verbs {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..position).unwrap_or_default().to_uppercase();
        let verbs = ["DELETE ", "GET ", "PUT ", "QUERY "].into_iter();
        Ok((0, verbs.filter(|verb| verb.starts_with(&typed)).map(str::to_owned).collect()))
    }
}

impl Hinter for Verbs {
    type Hint = String;
}
impl Highlighter for Verbs {}
impl Validator for Verbs {}
impl Helper for Verbs {}
