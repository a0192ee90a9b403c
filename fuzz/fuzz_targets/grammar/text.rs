//! Any text as a value: it is read, and then what is printed reads back to the same; or it is
//! refused, with an error whose places are right.
#![no_main]

mod error;

use libfuzzer_sys::fuzz_target;
use triekv::parser::parse_value;
use triekv::value::DEPTH_MAX;

fuzz_target!(|text: &str| {
    match parse_value(text) {
        Ok(value) => {
            assert!(value.check().is_ok() && value.depth() <= DEPTH_MAX);
            let printed = value.to_string();
            assert_eq!(parse_value(&printed).as_ref(), Ok(&value), "{printed:?}");
        }
        Err(error) => {
            error::check(&error, text);
            // Where the next line may bring the rest, a line end is no mistake.
            if error.is_open() {
                let next = parse_value(&format!("{text}\n?")).unwrap_err();
                assert_eq!(next.found(), Some('?'), "{next} after {text:?}");
            }
        }
    }
});
