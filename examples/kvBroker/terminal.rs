//! Commands from a terminal: editing, completion of the verbs, history.

use std::borrow::Cow;
use std::path::PathBuf;
use std::{env, fs, io};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ColorMode, ConditionalEventHandler, Config, Context, Editor, Event, EventContext,
    EventHandler, Helper, KeyCode, KeyEvent, Modifiers, RepeatCount,
};
use triekv::value::needs_escape;

use crate::entry::{Entry, Next};
use crate::lines::{LINE_BYTES_MAX, Line};

pub(crate) const PROMPT: &str = "kvStore> ";

/// What the first word is completed to.
const VERBS: [&str; 13] = [
    "!DISCONNECT",
    "!JOIN ",
    "!LEAVE ",
    "!UNSAFE-RECOVER ",
    "DELETE ",
    "EXPLAIN ",
    "GET ",
    "MERGE ",
    "PUT ",
    "QUERY ",
    "REMOVE ",
    "SET ",
    "STATUS",
];

pub(crate) struct Terminal {
    editor: Editor<Help, DefaultHistory>,
    /// Where the history is kept between sessions.
    history: Option<PathBuf>,
    /// What was typed and is not answered yet.
    entry: Entry,
}

impl Terminal {
    pub(crate) fn open() -> io::Result<Self> {
        // There are no colours, but what hides characters in the line counts as one that paints it.
        let config = Config::builder().color_mode(ColorMode::Forced).build();
        let mut editor = Editor::with_config(config).map_err(io::Error::other)?;
        editor.set_helper(Some(Help));
        let tab = KeyEvent(KeyCode::Tab, Modifiers::NONE);
        editor.bind_sequence(tab, EventHandler::Conditional(Box::new(TabAfterVerb)));
        let history = history_file();
        if let Some(history) = &history {
            // There is none before the first session.
            let _ = editor.load_history(history);
        }
        Ok(Self { editor, history, entry: Entry::default() })
    }

    /// The next command, of one line or more. Ctrl-C gives up one that was begun.
    pub(crate) fn next(&mut self) -> io::Result<Line> {
        loop {
            let open = match self.entry.next() {
                Next::Command(command) => return Ok(self.command(command)),
                Next::Nothing => None,
                Next::Open(_) if self.entry.len() > LINE_BYTES_MAX => {
                    self.entry.clear();
                    return Ok(Line::TooLong);
                }
                Next::Open(bracket) => Some(bracket),
            };
            // As wide as the prompt, so that lines stand under each other.
            let prompt = open.map_or(PROMPT.to_owned(), |bracket| format!("      {bracket}> "));
            match self.editor.readline(&prompt) {
                Ok(line) => self.entry.push(&line),
                // What is told is what misses.
                Err(ReadlineError::Eof) if open.is_some() => {
                    let command = self.entry.take();
                    return Ok(self.command(command));
                }
                Err(ReadlineError::Eof) => return Ok(Line::End),
                Err(ReadlineError::Interrupted) if open.is_some() => self.entry.clear(),
                Err(ReadlineError::Interrupted) => return Ok(Line::Interrupted),
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    self.entry.clear();
                    return Ok(Line::NotUtf8);
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    fn command(&mut self, command: String) -> Line {
        // The end of its last line counts, too.
        if command.len() >= LINE_BYTES_MAX {
            return Line::TooLong;
        }
        self.remember(&command);
        Line::Text(command)
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

/// A tab after the beginning of a word completes it; elsewhere it is white space, as in lines that come
/// from an editor.
struct TabAfterVerb;

impl ConditionalEventHandler for TabAfterVerb {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let typed = context.line().get(..context.pos()).unwrap_or_default();
        (typed.is_empty() || completions(typed).next().is_none())
            .then(|| Cmd::Insert(1, "\t".to_owned()))
    }
}

/// The verbs that begin with what was typed.
fn completions(typed: &str) -> impl Iterator<Item = &'static str> {
    let typed = typed.to_uppercase();
    VERBS.into_iter().filter(move |verb| verb.starts_with(&typed))
}

/// Completes the first word, and hides what the terminal would obey in the line.
struct Help;

impl Completer for Help {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..position).unwrap_or_default();
        Ok((0, completions(typed).map(str::to_owned).collect()))
    }
}

/// Tells whether a character is left out where the line is shown. It takes no column, so that the cursor
/// stays where it belongs; the answer shows it as an escape.
fn is_hidden(found: char) -> bool {
    needs_escape(found) && !matches!(found, '\n' | '\t')
}

impl Highlighter for Help {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if line.contains(is_hidden) {
            Cow::Owned(line.replace(is_hidden, ""))
        } else {
            Cow::Borrowed(line)
        }
    }

    /// Tells whether the line has to be shown anew, and not the last character alone.
    fn highlight_char(&self, line: &str, _: usize, _: CmdKind) -> bool {
        line.contains(is_hidden)
    }
}

impl Hinter for Help {
    type Hint = String;
}
impl Validator for Help {}
impl Helper for Help {}
