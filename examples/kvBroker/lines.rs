//! Lines from a pipe, or from a terminal.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

use crate::output::{self, Output};
use crate::terminal::{PROMPT, Terminal};

/// The longest line, its end included; at a terminal, the longest command of several lines.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 20;

/// Lines that are read ahead.
const LINES_AHEAD: usize = 16;

pub(crate) enum Line {
    Text(String),
    NotUtf8,
    TooLong,
    End,
    Interrupted,
}

pub(crate) enum Lines {
    Terminal(Box<Terminal>),
    /// What a thread reads ahead, so that the next line is there when the one before is answered.
    Pipe(Receiver<io::Result<Line>>),
}

impl Lines {
    pub(crate) fn open() -> io::Result<Self> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            return Ok(Self::Terminal(Box::new(Terminal::open()?)));
        }
        let (sender, lines) = bounded(LINES_AHEAD);
        let read_all = move || {
            let mut input = io::stdin().lock();
            let mut line = read_line(&mut input).map(without_byte_order_mark);
            loop {
                let last = matches!(line, Ok(Line::End) | Err(_));
                if sender.send(line).is_err() || last {
                    return;
                }
                line = read_line(&mut input);
            }
        };
        thread::Builder::new().name("stdin".to_owned()).spawn(read_all)?;
        Ok(Self::Pipe(lines))
    }

    /// Prompts for a line and waits for it.
    pub(crate) fn next(&mut self) -> io::Result<Line> {
        match self {
            Self::Terminal(terminal) => terminal.next(),
            Self::Pipe(lines) => {
                let mut out = Output;
                write!(out, "{PROMPT}")?;
                out.flush()?;
                // Who types does not see what.
                if io::stdin().is_terminal() && output::lost().is_some() {
                    return Ok(Line::End);
                }
                // The thread tells when the lines end, before it does.
                lines.recv().unwrap_or_else(|_| Err(io::Error::other("the input is not read on")))
            }
        }
    }
}

/// The first line without what some editors begin a file with.
fn without_byte_order_mark(line: Line) -> Line {
    match line {
        Line::Text(text) => match text.strip_prefix('\u{feff}') {
            Some(rest) => Line::Text(rest.to_owned()),
            None => Line::Text(text),
        },
        line => line,
    }
}

fn read_line(input: &mut impl BufRead) -> io::Result<Line> {
    let mut line = Vec::new();
    input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    match line.len() {
        0 => Ok(Line::End),
        1..=LINE_BYTES_MAX => Ok(String::from_utf8(line).map_or(Line::NotUtf8, Line::Text)),
        _ => {
            if !line.ends_with(b"\n") {
                input.skip_until(b'\n')?;
            }
            Ok(Line::TooLong)
        }
    }
}
