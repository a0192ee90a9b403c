//! The order of the modules, read from the source: who imports whom, who names openraft, what
//! lib.rs holds, how long files are.
//!
//! The checks are functions of a path and a text that return complaints. Comments never count; the
//! text of string literals counts only where openraft is looked for. What a macro of another crate
//! would expand to is not seen, and neither is a path that an alias hides (`use crate as c`).

use std::fs;
use std::iter;
use std::path::Path;

use source::Token;

mod source;

/// Each module with those that it may import besides itself.
const LAYERS: [(&str, &[&str]); 8] = [
    ("trie", &[]),
    ("log", &[]),
    ("transport", &[]),
    ("value", &["trie"]),
    ("generator", &["value"]),
    ("parser", &["value", "trie"]),
    ("store", &["log", "parser", "value", "trie"]),
    ("replication", &["trie", "log", "transport", "generator", "value", "parser", "store"]),
];

const LINES_MAX: usize = 800;

#[test]
fn every_module_imports_only_modules_below_it() {
    assert_clean(&["src"], upward_imports);
}

#[test]
fn only_the_raft_module_names_openraft() {
    assert_clean(&["src"], mentions_of_openraft);
}

#[test]
fn the_crate_root_holds_no_code() {
    assert_clean(&["src"], code_in_the_root);
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    assert_clean(&["src", "tests", "examples", "benches"], too_long);
}

/// Asserts that `check` finds nothing in the `.rs` files of `folders`.
fn assert_clean(folders: &[&str], check: fn(&str, &str) -> Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut files);
    }
    assert!(!files.is_empty(), "no file was read");
    let complaints: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            check(&path, &fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    // A folder without a file is not in a clone.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The module of a file: `src/log/segment.rs` is `log`, `segment`; the crate root has no name.
fn module(path: &str) -> Vec<&str> {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    if path == "lib" { Vec::new() } else { path.split('/').collect() }
}

fn upward_imports(path: &str, text: &str) -> Vec<String> {
    let own_path = module(path);
    let Some(&own) = own_path.first() else { return Vec::new() };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == own) else {
        return vec![format!("{path}: the module {own} has no layer")];
    };
    let code = source::without_comments_and_literals(text);
    root_imports(&own_path, &source::tokens(&code))
        .into_iter()
        .filter(|import| import.text != own && !allowed.contains(&import.text))
        .map(|Token { line, text }| {
            if LAYERS.iter().any(|(name, _)| *name == text) {
                format!("{path}:{line}: {own} must not import {text}")
            } else {
                format!("{path}:{line}: crate::{text} is no module: import by module path")
            }
        })
        .collect()
}

/// The names right below the crate root in all paths that start with `crate::` or whose `super::`
/// lead there.
fn root_imports<'t>(own_path: &[&str], tokens: &[Token<'t>]) -> Vec<Token<'t>> {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text);
    let is_path_separator = |index: usize| text(index) == ":" && text(index + 1) == ":";
    let mut imports = Vec::new();
    // Depth of braces, and the depths at which the inline modules around the token were opened.
    let mut depth = 0_usize;
    let mut inline = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        match text(index) {
            "{" => {
                if index >= 2 && text(index - 2) == "mod" {
                    inline.push(depth);
                }
                depth += 1;
            }
            "}" => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|opened| *opened == depth);
            }
            "crate" if is_path_separator(index + 1) => {
                index += 3;
                imports.extend(first_names(&tokens[index..]));
                continue;
            }
            "super" if is_path_separator(index + 1) => {
                let mut levels = 0;
                while text(index) == "super" && is_path_separator(index + 1) {
                    levels += 1;
                    index += 3;
                }
                if levels >= own_path.len() + inline.len() {
                    imports.extend(first_names(&tokens[index..]));
                }
                continue;
            }
            _ => {}
        }
        index += 1;
    }
    imports
}

/// The first name of a path, or those of each path in a group of them.
fn first_names<'t>(tokens: &[Token<'t>]) -> Vec<Token<'t>> {
    match tokens {
        [] => Vec::new(),
        [group, rest @ ..] if group.text == "{" => {
            let mut depth = 1;
            let mut names = Vec::new();
            let mut before = *group;
            for &token in rest {
                match token.text {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    _ if depth == 1 && matches!(before.text, "{" | ",") => names.push(token),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                before = token;
            }
            names
        }
        [name, ..] => vec![*name],
    }
}

fn mentions_of_openraft(path: &str, text: &str) -> Vec<String> {
    if path == "src/replication/raft.rs" || path.starts_with("src/replication/raft/") {
        return Vec::new();
    }
    (1..)
        .zip(source::without_comments(text).lines())
        .filter(|(_, line)| line.contains("openraft"))
        .map(|(line, _)| format!("{path}:{line}: only replication::raft may name openraft"))
        .collect()
}

fn code_in_the_root(path: &str, text: &str) -> Vec<String> {
    if path != "src/lib.rs" {
        return Vec::new();
    }
    let code = source::without_comments_and_literals(text);
    let tokens = source::tokens(&code);
    let mut rest = tokens.as_slice();
    let mut complaints = Vec::new();
    while let Some(first) = rest.first() {
        let (item, after) = rest.split_at(item_len(rest));
        rest = after;
        if !is_attribute(item) && !is_module(item) && !is_public_use(item) {
            complaints.push(format!("{path}:{}: lib.rs holds mod and pub use only", first.line));
        }
    }
    complaints
}

/// Number of tokens up to the end of an item: its `;`, its last `}`, or the `]` of an attribute.
fn item_len(tokens: &[Token<'_>]) -> usize {
    let attribute = tokens[0].text == "#";
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let next_is_semicolon = tokens.get(index + 1).is_some_and(|next| next.text == ";");
        let end = match token.text {
            ";" => true,
            "}" => !next_is_semicolon,
            "]" => attribute,
            _ => false,
        };
        if end && depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

fn is_attribute(item: &[Token<'_>]) -> bool {
    item[0].text == "#"
}

/// A module in a file of its own, or one without content, which can only hold docs.
fn is_module(item: &[Token<'_>]) -> bool {
    let texts: Vec<&str> = item.iter().map(|token| token.text).collect();
    match texts.as_slice() {
        ["pub", "(", _, ")", rest @ ..] | ["pub", rest @ ..] | rest => {
            matches!(rest, ["mod", _, ";"] | ["mod", _, "{", "}"])
        }
    }
}

fn is_public_use(item: &[Token<'_>]) -> bool {
    matches!(item, [public, import, .., end]
        if public.text == "pub" && import.text == "use" && end.text == ";")
}

fn too_long(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let complaint = || format!("{path}: {lines} lines, at most {LINES_MAX} are allowed");
    iter::once_with(complaint).filter(|_| lines > LINES_MAX).collect()
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    let upward = |path, text| upward_imports(path, text).join(", ");
    let found = "src/trie.rs:1: trie must not import value";
    assert_eq!(upward("src/trie.rs", "use crate::value::Value;"), found);
    assert_eq!(upward("src/trie.rs", "use crate :: { value::Value };"), found);
    assert_eq!(upward("src/trie.rs", "fn f() -> crate::value::Value {}"), found);
    assert_eq!(upward("src/trie.rs", "macro_rules! m { () => { $crate::value::x() } }"), found);
    assert_eq!(upward("src/trie.rs", "use super::value::Value;"), found);
    assert_eq!(upward("src/trie.rs", "use self::super::value::Value;"), found);
    assert_eq!(upward("src/trie.rs", "mod tests { use super::super::value::Value; }"), found);
    assert_eq!(upward("src/trie.rs", "mod a { mod b {} use super::super::value; }"), found);
    assert_eq!(upward("src/trie.rs", "mod a {} use super::value;"), found);
    assert_eq!(
        upward("src/trie/node.rs", "\n\nuse super::super::{node, value};"),
        "src/trie/node.rs:3: crate::node is no module: import by module path, \
         src/trie/node.rs:3: trie must not import value"
    );
    assert_eq!(
        upward("src/parser.rs", "use crate::{\n trie::{Trie, x},\n log::Log,\n};"),
        "src/parser.rs:3: parser must not import log"
    );
    assert_eq!(
        upward("src/value/serde.rs", "/* a */ fn f() { 'x'; \"//\"; crate::store::f() }"),
        "src/value/serde.rs:1: value must not import store"
    );
}

#[test]
fn an_import_through_the_crate_root_is_found() {
    for text in ["use crate::Trie;", "use crate::{Trie};", "use super::Trie;"] {
        assert_eq!(
            upward_imports("src/store.rs", text),
            ["src/store.rs:1: crate::Trie is no module: import by module path"]
        );
    }
    for text in ["use crate::*;", "use super::*;"] {
        assert_eq!(upward_imports("src/store.rs", text).len(), 1);
    }
}

#[test]
fn a_module_without_a_layer_is_found() {
    assert_eq!(upward_imports("src/util.rs", ""), ["src/util.rs: the module util has no layer"]);
}

#[test]
fn imports_downwards_and_within_a_module_are_allowed() {
    for (path, text) in [
        ("src/store.rs", "use crate::{parser::Command, trie::{self, Trie}, value};"),
        ("src/store/reply.rs", "use super::Store; use crate::store::Store;"),
        ("src/store/a/b.rs", "use super::super::log;"),
        ("src/trie.rs", "mod tests { use super::*; use super::value; }"),
        ("src/trie.rs", "mod a { mod b { use super::super::log; } }"),
        ("src/trie.rs", "mod a { struct S {} impl S { fn f() { super::value() } } }"),
        ("src/trie.rs", "pub(crate) struct A; pub(super) struct B; pub(in crate::trie) fn c() {}"),
        ("src/trie.rs", "// crate::value\n/* crate::value /* */ crate::value */"),
        ("src/trie.rs", "const A: &str = \"\\\" crate::value\"; const B: char = '\"';"),
        ("src/trie.rs", "const A: &str = r#\"\" crate::value\"#; fn f<'a>(a: &'a str) {}"),
        ("src/replication/server.rs", "use crate::{log::Log, store::Store, transport};"),
        ("src/lib.rs", "pub use crate::trie::Trie;"),
    ] {
        assert_eq!(upward_imports(path, text), [""; 0], "{text}");
    }
}

#[test]
fn openraft_is_found_outside_its_module_but_not_in_comments() {
    let complaint = "src/replication.rs:2: only replication::raft may name openraft";
    for text in
        ["\nuse openraft::Raft;", "\nuse openraft_multi::X;", "\nconst A: &str = \"openraft\";"]
    {
        assert_eq!(mentions_of_openraft("src/replication.rs", text), [complaint]);
    }
    assert_eq!(mentions_of_openraft("src/replication.rs", "//! openraft\n/* openraft */"), [""; 0]);
    for path in ["src/replication/raft.rs", "src/replication/raft/storage.rs"] {
        assert_eq!(mentions_of_openraft(path, "use openraft::Raft;"), [""; 0]);
    }
    assert_eq!(mentions_of_openraft("src/replication/rafting.rs", "use openraft::Raft;").len(), 1);
}

#[test]
fn code_in_the_root_is_found() {
    let complaint = "src/lib.rs:2: lib.rs holds mod and pub use only";
    for item in [
        "fn f() {}",
        "pub struct S { a: u8 }",
        "pub struct S;",
        "use trie::Trie;",
        "mod a { fn f() {} }",
        "impl trie::Trie { fn f() { ; } }",
        "macro_rules! m { () => {} }",
        "pub const A: [u8; 2] = [1; 2];",
        "fn unfinished(",
    ] {
        let text = format!("//! Docs.\n{item}\npub mod trie;");
        assert_eq!(code_in_the_root("src/lib.rs", &text).first().unwrap(), complaint, "{item}");
    }
    let text = "//! Docs.\n#![doc = include_str!(\"../README.md\")]\n\
                #[cfg(feature = \"x\")]\npub mod a;\nmod b;\npub(crate) mod c;\n\
                pub use a::{A, b::{B, C}};\npub use b::D;\n#[cfg(doctest)]\nmod readme {}\n";
    assert_eq!(code_in_the_root("src/lib.rs", text), [""; 0]);
    assert_eq!(code_in_the_root("src/trie.rs", "fn f() {}"), [""; 0]);
}

#[test]
fn a_file_is_too_long_one_line_past_the_limit() {
    assert_eq!(too_long("src/a.rs", &"\n".repeat(800)), [""; 0]);
    assert_eq!(
        too_long("src/a.rs", &"\n".repeat(801)),
        ["src/a.rs: 801 lines, at most 800 are allowed"]
    );
}
