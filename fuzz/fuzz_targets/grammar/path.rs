//! Any text as a path: it is read, and then what is printed reads back to the same; or it is
//! refused, with an error whose places are right.
#![no_main]

mod error;

use libfuzzer_sys::fuzz_target;
use triekv::parser::parse_path;

fuzz_target!(|text: &str| {
    match parse_path(text) {
        Ok(path) => {
            let printed = path.to_string();
            assert_eq!(parse_path(&printed).as_ref(), Ok(&path), "{printed:?}");
        }
        Err(error) => error::check(&error, text),
    }
});
