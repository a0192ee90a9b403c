//! What is typed at a terminal, taken apart into commands. A command goes on at the next line while
//! a bracket of its value is open; what is pasted may be many commands, or one of many lines.

use triekv::parser::{ParseError, parse_command};

/// The white space of the grammar.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Text that was typed and not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    text: String,
    /// Bytes at its start that were taken out.
    taken: usize,
}

/// What the text begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A command, right or wrong, without the end of its line.
    Command(String),
    /// A command whose bracket is still open: this one.
    Open(char),
    /// Nothing.
    Nothing,
}

impl Entry {
    /// Adds a line, or more of them.
    pub(crate) fn push(&mut self, lines: &str) {
        self.text += lines;
        self.text.push('\n');
    }

    /// Takes the first command out. What it finds open stays, and is read again with the next line:
    /// what hands type is short, and what is pasted comes at once.
    pub(crate) fn next(&mut self) -> Next {
        let rest = self.rest();
        let Some((first, _)) = rest.split_once('\n') else {
            self.clear();
            return Next::Nothing;
        };
        let command = if parse_command(first).is_err_and(|error| error.is_open()) {
            match parse_command(rest) {
                Ok(_) => rest.trim_end_matches(SPACE),
                Err(error) if error.is_open() => {
                    let bracket = error.unclosed().and_then(|place| rest.get(place.offset..));
                    return Next::Open(bracket.and_then(|rest| rest.chars().next()).unwrap_or('{'));
                }
                Err(error) => lines_of(rest, &error),
            }
        } else {
            first
        };
        let command = command.to_owned();
        self.taken += command.len();
        // The end of its line belongs to nothing.
        self.taken += usize::from(self.rest().starts_with('\n'));
        Next::Command(command)
    }

    /// Takes out what there is, as if nothing could follow.
    pub(crate) fn take(&mut self) -> String {
        let text = self.rest().trim_end_matches(SPACE).to_owned();
        self.clear();
        text
    }

    /// Forgets what was typed.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.taken = 0;
    }

    /// The bytes that were typed and not taken.
    pub(crate) fn len(&self) -> usize {
        self.rest().len()
    }

    fn rest(&self) -> &str {
        self.text.get(self.taken..).unwrap_or_default()
    }
}

/// The lines of `text` up to that of the error, without the last end; not that line itself if the
/// command ends above it, since then it begins another one.
fn lines_of<'a>(text: &'a str, error: &ParseError) -> &'a str {
    let (before, rest) = text.split_at(error.offset());
    let (above, line) = before.rsplit_once('\n').unwrap_or(("", before));
    if line.chars().all(|found| SPACE.contains(&found)) && parse_command(above).is_ok() {
        return above.trim_end_matches(SPACE);
    }
    let tail = rest.split('\n').next().unwrap_or_default();
    text.split_at(before.len() + tail.len()).0
}
