//! Writes random records, one a line, for kvBroker to load.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, error::ErrorKind};
use triekv::generator::{Format, KeyFile, LoadKeyFileError, Records, Shape, ShapeError};
use triekv::value::Escaped;

#[path = "kvBroker/usage.rs"]
#[expect(dead_code, reason = "what other programs need")]
mod usage;

const HELP: &str = "\
Example:
  createData -k keyFile.txt -n 1000 -d 2 -m 5 -l 4 --seed 1

The key file has one field a line, its name and its type with blanks between:
  name    string     1 to -l ASCII letters
  age     int        0 to 1000
  height  float      0 to 100, at most three places
  member  bool       true or false
Empty lines are skipped; anything else is an error.

A record is one line, numbered from 0; with --format ndjson it looks like the second one:
  \"person0\": { \"name\" : \"Xy\" ; \"home\" :  { \"age\" : 7 }  } 
  {\"key\":\"person0\",\"value\":{\"name\":\"Xy\",\"home\":{\"age\":7}}}
It never has more than 10000 fields, those of its nested maps included.

Exit status: 0 when the file is complete; 1 when a number is out of range, the key file cannot be
used or the output cannot be written (an older output file is then left as it was); 2 when an
option is missing or is no number.";

/// Writes random records, one a line, for kvBroker to load
#[derive(Parser)]
#[command(name = "createData", version, after_long_help = HELP)]
struct Options {
    /// File with the names and types of the fields
    #[arg(short, long = "keyFile", value_name = "FILE")]
    key_file: PathBuf,
    /// Number of records, at least 1
    #[arg(short, long = "numberOfLines", value_name = "N", allow_negative_numbers = true)]
    number_of_lines: i64,
    /// Deepest nesting of maps inside a record: 0 for none, at most 127
    #[arg(short = 'd', long, value_name = "N", allow_negative_numbers = true)]
    nesting: i64,
    /// Most fields of one map, at most the number of names in the key file
    #[arg(short = 'm', long = "numberOfKeys", value_name = "N", allow_negative_numbers = true)]
    number_of_keys: i64,
    /// Most letters of a string, at least 1
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    length: i64,
    /// Where to write, or - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "dataToIndex.txt")]
    output: PathBuf,
    /// How records are written: native or ndjson; kvBroker reads both
    #[arg(long, value_name = "FORMAT", default_value = "native")]
    format: Format,
    /// The same seed makes the same records; without it every run makes others
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::try_parse().unwrap_or_else(|error| {
        if error.kind() == ErrorKind::ValueValidation {
            let _ = writeln!(io::stderr(), "{}", Options::command().render_usage());
        }
        usage::exit(&error)
    });
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough of it.
        Err(Failure::Write(_, error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            // Where nobody reads it, the exit status tells.
            let _ = writeln!(io::stderr(), "{}", Escaped(&failure.message()));
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Shape(ShapeError),
    KeyFile(LoadKeyFileError),
    Write(PathBuf, io::Error),
}

impl Failure {
    fn message(&self) -> String {
        match self {
            Self::KeyFile(LoadKeyFileError::Io { path, source }) => errno(source, path),
            Self::KeyFile(LoadKeyFileError::Format { path, source }) => {
                format!("[Error] {}:{}: {}", path.display(), source.line, source.kind)
            }
            Self::KeyFile(error) => format!("[Error] {error}"),
            Self::Shape(error) => format!("[Error] {error}"),
            Self::Write(path, error) => errno(error, path),
        }
    }
}

/// `[Errno 2] No such file or directory: 'NAME'`
fn errno(error: &io::Error, path: &Path) -> String {
    let (text, path) = (error.to_string(), path.display());
    let Some(code) = error.raw_os_error() else { return format!("[Error] {text}: '{path}'") };
    let text = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
    format!("[Errno {code}] {text}: '{path}'")
}

fn run(options: &Options) -> Result<(), Failure> {
    let Options { number_of_lines, nesting, number_of_keys, length, .. } = *options;
    let shape =
        Shape::new(number_of_lines, nesting, number_of_keys, length).map_err(Failure::Shape)?;
    let key_file = KeyFile::load(&options.key_file).map_err(Failure::KeyFile)?;
    let seed = options.seed.unwrap_or_else(rand::random);
    let records = Records::new(key_file, shape, seed).map_err(Failure::Shape)?;
    write(records.format(options.format), &options.output)
        .map_err(|error| Failure::Write(options.output.clone(), error))
}

fn write(records: Records, output: &Path) -> io::Result<()> {
    if output == Path::new("-") {
        return write_to(records, &mut io::stdout().lock());
    }
    // A symbolic link stays one: the file that it leads to is replaced.
    let output = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
    match fs::metadata(&output) {
        // Devices and pipes cannot be replaced.
        Ok(old) if !old.is_file() => {
            write_to(records, &mut File::options().write(true).open(output)?)
        }
        _ => replace(records, &output),
    }
}

/// Writes beside `output` and renames at the end, so that a failed run leaves an old file alone.
fn replace(records: Records, output: &Path) -> io::Result<()> {
    let mut partial = output.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let mut file = File::create_new(&partial)?;
    write_to(records, &mut file)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&partial, output))
        .inspect_err(|_| drop(fs::remove_file(&partial)))
}

fn write_to(records: Records, out: &mut impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    records.write_to(&mut out)?;
    out.flush()
}
