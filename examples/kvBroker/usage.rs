//! The options of a program, and what is told of wrong ones.

use std::io::{self, Write};
use std::{env, process};

use clap::{Error, Parser};
use triekv::value::{Escaped, needs_escape};

/// The options of the command line; ends the program if they are wrong.
pub(crate) fn options<T: Parser>() -> T {
    T::try_parse().unwrap_or_else(|error| exit(&error))
}

/// Tells what is wrong with the options, without what a terminal would obey in them, and ends the
/// program.
pub(crate) fn exit(error: &Error) -> ! {
    let is_harmless = env::args_os().all(|word| !word.to_string_lossy().contains(needs_escape));
    if is_harmless || !error.use_stderr() {
        error.exit();
    }
    for line in error.render().to_string().lines() {
        let _ = writeln!(io::stderr(), "{}", Escaped(line));
    }
    process::exit(error.exit_code());
}
