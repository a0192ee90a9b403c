//! What holds for the error of any text.

use triekv::parser::ParseError;

/// Verifies that the places in the error are places of the text, and agree with each other.
pub(crate) fn check(error: &ParseError, text: &str) {
    let (offset, span) = (error.offset(), error.span());
    assert!(text.is_char_boundary(offset), "{error} of {text:?}");
    let (before, rest) = text.split_at(offset);
    let line = before.rsplit('\n').next().unwrap_or_default();
    assert_eq!(error.line(), before.matches('\n').count() + 1, "{error} of {text:?}");
    assert_eq!(error.column(), line.chars().count() + 1, "{error} of {text:?}");
    assert!(offset <= span.start && text.get(span).is_some(), "{error} of {text:?}");

    let is_end = rest.trim_matches([' ', '\t', '\r', '\n']).is_empty();
    match error.found() {
        Some(found) => assert!(rest.starts_with(found), "{error} of {text:?}"),
        None => assert!(is_end, "{error} of {text:?}"),
    }
    if let Some(start) = error.value_start() {
        assert!(start <= offset && text.is_char_boundary(start), "{error} of {text:?}");
        assert!(error.position_in_value(text).is_some(), "{error} of {text:?}");
    }
    if let Some(place) = error.unclosed() {
        assert!(place.offset < offset, "{error} of {text:?}");
        assert!(text[place.offset..].starts_with(['{', '[']), "{error} of {text:?}");
    }
    if error.is_open() {
        assert!(error.is_incomplete() && is_end, "{error} of {text:?}");
        // No line end that follows makes it wrong.
        assert!(error.value_start().is_some() && error.unclosed().is_some());
    }

    let excerpt = error.excerpt(text);
    assert!(text[excerpt.start()..].starts_with(excerpt.text()), "{error} of {text:?}");
    assert!(excerpt.text().get(excerpt.span()).is_some(), "{error} of {text:?}");
    assert!(excerpt.text().chars().count() <= 64, "{error} of {text:?}");
}
