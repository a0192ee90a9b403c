//! Indexing the data file: a bar, what is wrong with its lines, and what was done.

use std::io::{self, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use triekv::replication::{LineError, LoadError, LoadEvent, LoadMode, LoadReport};
use triekv::{Broker, Transport, Value};

use crate::failure::{Failure, failed, named};
use crate::output::Output;
use crate::snippet::Pointer;

/// Faults of lines that are told one by one; more are counted.
const FAULTS_MAX: u64 = 20;

/// Puts the records of the file at `path`. Where the servers fail meanwhile, says so, and leaves
/// the rest to another start.
pub(crate) async fn index<T: Transport>(
    broker: &Broker<T>,
    path: &Path,
    mode: LoadMode,
) -> Result<(), Failure> {
    let style = ProgressStyle::with_template("{wide_bar} {percent}% {eta}");
    // Draws to stderr, and only if that is a terminal.
    let bar = ProgressBar::new(0).with_style(style.map_err(io::Error::other)?);
    let file = named(path);
    let mut faults = 0;
    let pointer = Pointer::new();
    let mut tell = |fault: &mut dyn FnMut() -> String| {
        faults += 1;
        if faults <= FAULTS_MAX {
            let fault = fault();
            bar.suspend(|| drop(writeln!(io::stderr(), "{fault}")));
        }
    };
    let loaded = broker.load_file(path, mode, |event| match event {
        LoadEvent::Progress { bytes, total } => {
            bar.set_length(total);
            bar.set_position(bytes);
        }
        LoadEvent::BadLine { line, error } => {
            tell(&mut || format!("{file}:{line}:{}", reason(&pointer, line, error)));
        }
        LoadEvent::DuplicateKey { line, earlier, key } => {
            tell(&mut || {
                let key = Value::from(key);
                format!("{file}:{line}: key {key} again, after line {earlier}; this line wins")
            });
        }
        _ => {}
    });
    let loaded = loaded.await;
    bar.finish_and_clear();
    if faults > FAULTS_MAX {
        drop(writeln!(io::stderr(), "{file}: and {} more", faults - FAULTS_MAX));
    }
    match loaded {
        Ok(report) => Ok(writeln!(Output, "{}", summary(path, &report))?),
        Err(LoadError::Read { path, source }) => Err(Failure::DataFile(path, source)),
        Err(error @ LoadError::NotRegular { .. }) => Err(Failure::Load(error)),
        Err(error) => {
            let error = failed(&error);
            drop(writeln!(io::stderr(), "{error}; start kvBroker again to index the rest"));
            Ok(())
        }
    }
}

/// `COLUMN: REASON`, or the reason alone; and the line, with a mark under the place.
fn reason(pointer: &Pointer, line: u64, error: &LineError) -> String {
    match error {
        LineError::Parse { error, excerpt } => {
            let shown = pointer.show(error, excerpt, Some(line));
            format!("{}: {}\n{shown}", error.column(), error.kind())
        }
        LineError::NotUtf8 { column, excerpt } => {
            format!("{column}: not UTF-8\n{}", pointer.show_not_utf8(excerpt, line))
        }
        error => format!(" {error}"),
    }
}

fn summary(path: &Path, report: &LoadReport) -> String {
    if report.already_loaded {
        let file = named(path);
        return format!("{file} is indexed already: nothing done; --reload puts every line again");
    }
    let LoadReport { put, present, bad_lines, duplicates, skipped, .. } = *report;
    let mut parts = vec![format!("Indexed {}", counted(put, "record"))];
    if duplicates > 0 {
        parts.push(format!("left out {} whose key a later one has", counted(duplicates, "line")));
    }
    if bad_lines > 0 {
        parts.push(format!("left out {}", counted(bad_lines, "bad line")));
    }
    if present > 0 {
        parts.push(format!("left out {} whose key was there", counted(present, "line")));
    }
    if skipped > 0 {
        parts.push(format!("skipped {} that an earlier start did", counted(skipped, "line")));
    }
    parts.join("; ")
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
