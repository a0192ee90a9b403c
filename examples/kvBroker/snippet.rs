//! The line in which an error lies, with a mark under the place.

use std::env;
use std::io::{self, IsTerminal};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use triekv::parser::{Excerpt, ParseError, Place};

/// What stands for the part of a line that is left out.
const CUT: &str = "...";

/// Shows where in a text an error lies.
pub(crate) struct Pointer(Renderer);

impl Pointer {
    /// For standard error: with colours if that is a terminal that has them, and nobody minds.
    pub(crate) fn new() -> Self {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        if io::stderr().is_terminal() && !set("NO_COLOR") && !dumb {
            Self(Renderer::styled())
        } else {
            Self::plain()
        }
    }

    /// Without colours.
    pub(crate) fn plain() -> Self {
        Self(Renderer::plain())
    }

    /// Shows the excerpt of the text with this error, with the number of its line or without.
    pub(crate) fn show(&self, error: &ParseError, excerpt: &Excerpt, line: Option<u64>) -> String {
        let reason = error.kind().to_string();
        let label = error.expected().map(|expected| format!("expected {expected}"));
        let unclosed = error.unclosed();
        let opened = unclosed.and_then(|place| excerpt.position(place.offset));
        let far = unclosed.filter(|_| opened.is_none()).map(|Place { line, column, .. }| {
            let line = if line == error.line() { String::new() } else { format!("line {line}, ") };
            format!("the bracket at {line}column {column} is still open")
        });
        self.render(excerpt, line, &label.unwrap_or(reason), opened, [far.as_deref(), error.help()])
    }

    /// Shows the excerpt of a line that is not UTF-8.
    pub(crate) fn show_not_utf8(&self, excerpt: &Excerpt, line: u64) -> String {
        self.render(excerpt, Some(line), "no UTF-8", None, [None; 2])
    }

    fn render(
        &self,
        excerpt: &Excerpt,
        line: Option<u64>,
        label: &str,
        opened: Option<usize>,
        help: [Option<&str>; 2],
    ) -> String {
        let shown = Shown::new(excerpt);
        let mark = AnnotationKind::Primary.span(shown.span.clone()).label(label);
        let opened = opened.map(|at| {
            let at = shown.place(excerpt, at);
            AnnotationKind::Context.span(at..at + 1).label("still open")
        });
        let snippet = Snippet::source(&shown.text)
            .line_numbering(line.is_some())
            .line_start(line.and_then(|line| usize::try_from(line).ok()).unwrap_or(1))
            .annotation(mark)
            .annotations(opened);
        let [far, help] = help;
        let group = Group::with_level(Level::ERROR)
            .element(snippet)
            .elements(far.map(|far| Level::NOTE.message(far)))
            .elements(help.map(|help| Level::HELP.message(help)));
        self.0.render(&[group])
    }
}

/// An excerpt as it is printed, harmless to a terminal.
struct Shown {
    text: String,
    span: Range<usize>,
}

impl Shown {
    fn new(excerpt: &Excerpt) -> Self {
        let (Range { start, end }, text) = (excerpt.span(), excerpt.text());
        let mut shown = Self { text: head(excerpt, start), span: 0..0 };
        shown.span.start = shown.text.len();
        // Here even a tab has to be seen.
        shown.text.extend(text[start..end].chars().map(|found| match found {
            '\t' => '\u{2409}',
            found => harmless(found),
        }));
        shown.span.end = shown.text.len();
        shown.text += &visible(&text[end..]);
        if excerpt.is_cut_after() {
            shown.text += CUT;
        }
        shown
    }

    /// Where the character at this byte of the excerpt, before its span, is shown.
    fn place(&self, excerpt: &Excerpt, at: usize) -> usize {
        head(excerpt, at).len().min(self.text.len())
    }
}

/// What is shown of the excerpt before this byte of it.
fn head(excerpt: &Excerpt, end: usize) -> String {
    let cut = if excerpt.is_cut_before() { CUT } else { "" };
    cut.to_owned() + &visible(&excerpt.text()[..end])
}

fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for found in text.chars() {
        match found {
            '\t' => shown += "    ",
            found => shown.push(harmless(found)),
        }
    }
    shown
}

/// A picture of a control character, U+FFFD for what has no picture and no width or turns the
/// direction of the text, and any other character itself.
fn harmless(found: char) -> char {
    match found {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(found)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}' => '\u{fffd}',
        found => found,
    }
}
