//! Keys and names with a character at an end that cannot be seen: mostly they were not meant.

use triekv::Path;
use triekv::parser::Command;
use triekv::value::{Step, needs_escape};

/// The hint at the first of `names` that begins or ends with a character that cannot be seen and was not
/// typed as an escape.
pub(crate) fn hint<'a>(line: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let ends = names.into_iter().flat_map(|name| [name.chars().next(), name.chars().next_back()]);
    let found = ends.flatten().find(|found| is_unseen(*found) && line.contains(*found))?;
    let code = u32::from(found);
    Some(format!(
        "[INFO] U+{code:04X}, which cannot be seen, is a part of the key or name: if it was meant, \
         write it as \\u{code:04x} in double quotes"
    ))
}

/// The key of a command and the names in its path.
pub(crate) fn names(command: &Command) -> Vec<&str> {
    match command {
        Command::Get { key } | Command::Put { key, .. } | Command::Delete { key } => vec![key],
        Command::Query { path }
        | Command::Set { path, .. }
        | Command::Merge { path, .. }
        | Command::Remove { path, .. } => names_of(path),
    }
}

fn names_of(path: &Path) -> Vec<&str> {
    let names = path.steps().iter().filter_map(|step| match step {
        Step::Name(name) => Some(name.as_str()),
        Step::Index(_) => None,
    });
    [path.key()].into_iter().chain(names).collect()
}

/// Tells whether a character shows nothing: white space that the grammar does not know, joiners, fillers
/// and what changes other characters or the direction of the text. All of them are below U+10000.
fn is_unseen(found: char) -> bool {
    let is_filler = matches!(
        found,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{2065}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{ffa0}'
    );
    is_filler || needs_escape(found) || !found.is_ascii() && found.is_whitespace()
}
