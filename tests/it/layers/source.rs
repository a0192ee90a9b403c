//! As much of Rust's lexical structure as finding paths needs.

/// A word or a single other character, and the number of its line from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) line: usize,
    pub(super) text: &'t str,
}

/// Returns the words and marks of a text without comments and literals.
pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (line, mut rest) in (1..).zip(code.lines()) {
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !is_in_word(c)).unwrap_or(rest.len());
            let len = if word > 0 { word } else { first.len_utf8() };
            let (text, after) = rest.split_at(len);
            rest = after;
            if !first.is_whitespace() {
                tokens.push(Token { line, text });
            }
        }
    }
    tokens
}

/// Returns the text with its comments made blank; lines keep their numbers.
pub(super) fn without_comments(text: &str) -> String {
    blanked(text, |piece| matches!(piece, Piece::Comment))
}

/// Returns the text with its comments, strings and characters made blank.
pub(super) fn without_comments_and_literals(text: &str) -> String {
    blanked(text, |piece| matches!(piece, Piece::Comment | Piece::Literal))
}

enum Piece {
    Code,
    Comment,
    Literal,
}

fn blanked(text: &str, is_blank: fn(&Piece) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = "";
    while !rest.is_empty() {
        let (piece, len) = next_piece(before, rest);
        let (content, after) = rest.split_at(len);
        if is_blank(&piece) {
            out.push(' ');
            out.extend(content.chars().filter(|&c| c == '\n'));
        } else {
            out.push_str(content);
        }
        before = content;
        rest = after;
    }
    out
}

/// What `rest` starts with and its length in bytes; `before` is the piece ahead of it.
fn next_piece(before: &str, rest: &str) -> (Piece, usize) {
    let first = rest.chars().next().map_or(0, char::len_utf8);
    if rest.starts_with("//") {
        (Piece::Comment, rest.find('\n').unwrap_or(rest.len()))
    } else if rest.starts_with("/*") {
        (Piece::Comment, block_comment_len(rest))
    } else if rest.starts_with('"') {
        (Piece::Literal, string_len(rest))
    } else if rest.starts_with('\'') {
        char_len(rest).map_or((Piece::Code, first), |len| (Piece::Literal, len))
    } else if let Some(len) = raw_string_len(rest).filter(|_| !before.ends_with(is_in_word)) {
        (Piece::Literal, len)
    } else {
        (Piece::Code, first)
    }
}

fn is_in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Block comments nest.
fn block_comment_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut len = 0;
    while len < text.len() {
        let rest = &text[len..];
        if rest.starts_with("/*") {
            depth += 1;
            len += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            len += 2;
            if depth == 0 {
                break;
            }
        } else {
            len += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    len
}

fn string_len(text: &str) -> usize {
    let mut escaped = true; // The opening quote is not the closing one.
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#` and so on, with a `b` or `c` before; `None` if the text starts otherwise.
fn raw_string_len(text: &str) -> Option<usize> {
    let after_r = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let content = after_r.trim_start_matches('#');
    let hashes = after_r.len() - content.len();
    let content = content.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - content.len();
    Some(content.find(&end).map_or(text.len(), |index| start + index + end.len()))
}

/// A character in quotes; `None` for a lifetime.
fn char_len(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    match chars.next()? {
        (_, '\\') => {
            chars.next()?;
            chars.find(|&(_, c)| c == '\'').map(|(index, _)| index + 1)
        }
        _ => chars.next().filter(|&(_, c)| c == '\'').map(|(index, _)| index + 1),
    }
}

#[test]
fn comments_are_blanked_and_lines_kept() {
    assert_eq!(without_comments("a // b\nc"), "a  \nc");
    assert_eq!(without_comments("a /* b /* \n */ c */ d"), "a  \n d");
    assert_eq!(without_comments("a \"// b\" 'c' '\"' // d"), "a \"// b\" 'c' '\"'  ");
    assert_eq!(without_comments("/* unfinished"), " ");
}

#[test]
fn literals_are_told_from_lifetimes_words_and_comments() {
    for (text, want) in [
        ("a \"b\\\"c\" d", "a   d"),
        ("a r\"b\\\" c", "a   c"),
        ("a r##\"b\"# \" \"## c", "a   c"),
        ("a br#\"b\"# cr\"c\" d", "a     d"),
        ("a b\"b\" d", "a b  d"),
        ("'a' '\\'' '\\u{1F600}' 'é' b", "        b"),
        ("<'a, 'b>", "<'a, 'b>"),
        ("r#type", "r#type"),
        ("\"unfinished", " "),
    ] {
        assert_eq!(without_comments_and_literals(text), want, "{text}");
    }
}

#[test]
fn tokens_are_words_and_single_marks() {
    let found = tokens("use a_1::{B};\n\n é + 'x");
    let found: Vec<(usize, &str)> = found.iter().map(|token| (token.line, token.text)).collect();
    let first = ["use", "a_1", ":", ":", "{", "B", "}", ";"].map(|text| (1, text));
    let third = ["é", "+", "'", "x"].map(|text| (3, text));
    assert_eq!(found, [first.as_slice(), third.as_slice()].concat());
}
