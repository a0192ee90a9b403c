//! The part of a text round a place, short enough to be shown.

use std::ops::Range;

/// The most columns of a terminal that an excerpt takes.
const COLUMNS_MAX: usize = 64;

/// Those of them that lie before the place, if the line is long on both sides.
const COLUMNS_BEFORE: usize = 28;

/// The part of a line round what is wrong in it, short enough to be shown: 64 columns of a
/// terminal, however long the line is. What stands in it is what stands in the text, control
/// characters included: make them harmless before you print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    span: Range<usize>,
    start: usize,
    is_cut: (bool, bool),
}

impl Excerpt {
    /// Takes the excerpt of `text` round the start of `span`, a range of bytes of it. Bytes that
    /// `text` does not have, or that lie within a character, count as the boundary before them.
    /// Takes **O(n)** for a line of `n` bytes.
    ///
    /// # Examples
    /// ```
    /// use triekv::parser::Excerpt;
    ///
    /// let text = format!("first\nsecond {}", "x".repeat(1_000_000));
    /// let excerpt = Excerpt::around(&text, 6..12);
    /// assert_eq!(&excerpt.text()[excerpt.span()], "second");
    /// assert_eq!((excerpt.start(), excerpt.text().len()), (6, 64));
    /// assert_eq!((excerpt.is_cut_before(), excerpt.is_cut_after()), (false, true));
    /// ```
    pub fn around(text: &str, span: Range<usize>) -> Self {
        let (before, rest) = text.split_at(text.floor_char_boundary(span.start));
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let (_, before) = before.split_at(line_start);
        let rest = rest.split('\n').next().unwrap_or_default();
        let rest = rest.strip_suffix('\r').unwrap_or(rest);

        // What one side does not need, the other may take.
        let (_, after) = kept(rest.chars(), COLUMNS_MAX - COLUMNS_BEFORE);
        let (bytes, columns) = kept(before.chars().rev(), COLUMNS_MAX - after);
        let (cut, before) = before.split_at(before.len() - bytes);
        let (rest, cut_after) = rest.split_at(kept(rest.chars(), COLUMNS_MAX - columns).0);
        let end = rest.floor_char_boundary(span.end.saturating_sub(span.start));
        Excerpt {
            text: [before, rest].concat(),
            span: before.len()..before.len() + end,
            start: line_start + cut.len(),
            is_cut: (!cut.is_empty(), !cut_after.is_empty()),
        }
    }

    /// Returns the excerpt: a line or a part of one, without its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the bytes of the excerpt that are wrong, as far as they lie in it.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Returns where the excerpt begins in the text, in bytes.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Returns where in the excerpt the byte at `offset` of the text is; `None` if it isn't there.
    pub fn position(&self, offset: usize) -> Option<usize> {
        offset.checked_sub(self.start).filter(|at| *at < self.text.len())
    }

    /// Tells whether the line has more before the excerpt.
    pub fn is_cut_before(&self) -> bool {
        self.is_cut.0
    }

    /// Tells whether the line has more after the excerpt.
    pub fn is_cut_after(&self) -> bool {
        self.is_cut.1
    }
}

/// As many of the first characters as fit into this many columns: their bytes and their columns.
/// Those from U+1100 on, where the first wide ones are, count as wide.
fn kept(characters: impl Iterator<Item = char>, columns_max: usize) -> (usize, usize) {
    let (mut bytes, mut columns) = (0, 0);
    for character in characters {
        let wide = columns + if character < '\u{1100}' { 1 } else { 2 };
        if wide > columns_max {
            break;
        }
        columns = wide;
        bytes += character.len_utf8();
    }
    (bytes, columns)
}
