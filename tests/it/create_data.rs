//! The program createData: its options, messages, exit statuses and output.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use triekv::generator::{KeyFile, Records, Shape};
use triekv::parser::parse_record;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");

/// Cargo puts examples beside the directory of the test programs.
fn program() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let name = format!("createData{}", env::consts::EXE_SUFFIX);
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is missing: run cargo build --examples", program.display());
    program
}

/// A directory of one test, with the key file in it; removed when the test passes.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let name = format!("create_data-{test}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        fs::copy(Path::new(DATA).join("keyFile.txt"), path.join("keyFile.txt")).unwrap();
        Self(path)
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(program());
        command.current_dir(&self.0).args(args.split(' ')).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &str) -> Run {
        let output = self.command(args).output().unwrap();
        Run {
            status: output.status.code().expect("no signal ended the program"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

#[derive(Debug, PartialEq)]
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn silent_success() -> Self {
        Self { status: 0, stdout: String::new(), stderr: String::new() }
    }

    fn failure(message: &str) -> Self {
        Self { status: 1, stdout: String::new(), stderr: format!("{message}\n") }
    }
}

#[test]
fn the_sample_data_are_what_their_seed_makes() {
    let key_file = KeyFile::load(format!("{DATA}/keyFile.txt")).unwrap();
    let mut made = Vec::new();
    let shape = Shape::new(1_000, 2, 5, 4).unwrap();
    Records::new(key_file, shape, 1).unwrap().write_to(&mut made).unwrap();
    // Not assert_eq, which would print both.
    assert!(made == fs::read(format!("{DATA}/dataToIndex.txt")).unwrap());
}

#[test]
fn the_program_writes_the_sample_data_silently() {
    let dir = Dir::new("sample");
    let run = dir.run("-k keyFile.txt -n 1000 -d 2 -m 5 -l 4 --seed 1");
    assert_eq!(run, Run::silent_success());
    let sample = fs::read_to_string(format!("{DATA}/dataToIndex.txt")).unwrap();
    assert!(dir.read("dataToIndex.txt") == sample);
    assert_eq!(dir.names(), ["dataToIndex.txt", "keyFile.txt"]);
}

#[test]
fn long_options_are_those_of_the_short_ones() {
    let dir = Dir::new("long");
    let long = "--keyFile keyFile.txt --numberOfLines 20 --nesting 3 --numberOfKeys 9 --length 2";
    let long = dir.run(&format!("{long} --output - --seed 5"));
    let short = dir.run("-k keyFile.txt -n 20 -d 3 -m 9 -l 2 -o - --seed 5");
    assert_eq!(long, short);
    assert_eq!((long.status, long.stdout.lines().count()), (0, 20));
}

#[test]
fn without_a_seed_every_run_makes_other_records() {
    let dir = Dir::new("no-seed");
    let args = "-k keyFile.txt -n 50 -d 2 -m 5 -l 9 -o -";
    assert_ne!(dir.run(args).stdout, dir.run(args).stdout);
}

#[test]
fn both_formats_hold_the_same_records() {
    let dir = Dir::new("formats");
    let args = "-k keyFile.txt -n 200 -d 3 -m 6 -l 9 -o - --seed 3 --format";
    let [native, ndjson] = ["native", "ndjson"].map(|format| {
        let run = dir.run(&format!("{args} {format}"));
        assert_eq!((run.status, run.stderr.as_str()), (0, ""));
        run.stdout
    });
    assert_eq!(dir.run(args.strip_suffix(" --format").unwrap()).stdout, native);
    assert_eq!(ndjson.lines().count(), 200);
    for (native, ndjson) in native.lines().zip(ndjson.lines()) {
        let (key, value) = parse_record(native).unwrap();
        let json = format!("{{\"key\":\"{key}\",\"value\":");
        assert!(ndjson.starts_with(&json) && !ndjson.contains([' ', ';']), "{ndjson}");
        assert_eq!(parse_record(ndjson).unwrap(), (key, value));
        serde_json::from_str::<serde_json::Value>(ndjson).unwrap();
    }
}

#[test]
fn numbers_out_of_range_are_refused_with_status_1() {
    let dir = Dir::new("range");
    let lines = "[Error] Number of lines should be greater than 0.";
    let nesting = "[Error] Nesting should be greater equal to 0.";
    let keys = "[Error] The maximum number of keys inside each value should be greater equal to 0.";
    let length = "[Error] The maximum length of a string should be greater than 0.";
    let deep = "[Error] Nesting should be lower equal to 127, it is 128: deeper records cannot be \
                stored.";
    let names = "[Error] The maximum number of keys inside each value is 21, but the key file has \
                 only 20 names.";
    for (args, message) in [
        ("-n 0 -d 2 -m 5 -l 4", lines),
        ("-n -1 -d 2 -m 5 -l 4", lines),
        ("--numberOfLines=-1 -d 2 -m 5 -l 4", lines),
        ("-n 5 -d -1 -m 5 -l 4", nesting),
        ("-n 5 -d 2 -m -1 -l 4", keys),
        ("-n 5 -d 2 -m 5 -l 0", length),
        ("-n 5 -d 2 -m 5 -l -7", length),
        ("-n 5 -d 128 -m 5 -l 4", deep),
        ("-n 5 -d 2 -m 21 -l 4", names),
    ] {
        assert_eq!(dir.run(&format!("-k keyFile.txt {args}")), Run::failure(message), "{args}");
    }
    assert_eq!(dir.names(), ["keyFile.txt"], "a failed run leaves no file");
}

#[test]
fn the_bounds_themselves_are_accepted() {
    let dir = Dir::new("bounds");
    let run = dir.run("-k keyFile.txt -n 1 -d 127 -m 20 -l 1");
    assert_eq!(run, Run::silent_success());
    let run = dir.run("-k keyFile.txt -n 1 -d 0 -m 0 -l 1 -o -");
    assert_eq!((run.status, run.stdout.as_str()), (0, "\"person0\": {  } \n"));
}

#[test]
fn missing_options_and_what_is_no_number_get_the_usage_and_status_2() {
    let dir = Dir::new("usage");
    for args in [
        "-n 5 -d 2 -m 5 -l 4",
        "-k keyFile.txt -d 2 -m 5 -l 4",
        "-k keyFile.txt -n 5 -m 5 -l 4",
        "-k keyFile.txt -n 5 -d 2 -l 4",
        "-k keyFile.txt -n 5 -d 2 -m 5",
        "-k keyFile.txt -n abc -d 2 -m 5 -l 4",
        "-k keyFile.txt -n 1.5 -d 2 -m 5 -l 4",
        "-k keyFile.txt -n 5 -d x -m 5 -l 4",
        "-k keyFile.txt -n 5 -d 2 -m -0.5 -l 4",
        "-k keyFile.txt -n 5 -d 2 -m 5 -l 99999999999999999999",
        "-k keyFile.txt -n 5 -d 2 -m 5 -l 4 --seed -1",
        "-k keyFile.txt -n 5 -d 2 -m 5 -l 4 --format xml",
        "-k keyFile.txt -n 5 -d 2 -m 5 -l 4 --unknown",
        "-k keyFile.txt -n 5 -d 2 -m 5 -l 4 extra",
    ] {
        let run = dir.run(args);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{args}");
        assert!(run.stderr.contains("Usage: createData "), "{args}: {}", run.stderr);
    }
    assert_eq!(dir.names(), ["keyFile.txt"]);
}

#[test]
fn help_teaches_on_standard_output() {
    let dir = Dir::new("help");
    let help = dir.run("--help");
    assert_eq!((help.status, help.stderr.as_str()), (0, ""));
    for word in ["--numberOfKeys", "Example:", "Exit status:", "at most 127", "dataToIndex.txt"] {
        assert!(help.stdout.contains(word), "{word}");
    }
    let fields_max = format!("more than {} fields", triekv::generator::FIELDS_MAX);
    assert!(help.stdout.contains(&fields_max));
    assert_eq!(dir.run("-h").status, 0);
}

#[test]
fn a_key_file_that_cannot_be_read_is_named() {
    let dir = Dir::new("unreadable");
    assert_eq!(
        dir.run("-k no/such.txt -n 5 -d 2 -m 5 -l 4"),
        Run::failure("[Errno 2] No such file or directory: 'no/such.txt'")
    );
    assert_eq!(dir.run("-k . -n 5 -d 2 -m 5 -l 4"), Run::failure("[Errno 21] Is a directory: '.'"));
    assert_eq!(dir.names(), ["keyFile.txt"]);
}

#[test]
fn a_bad_key_file_is_refused_with_its_line_and_an_older_output_stays() {
    let dir = Dir::new("bad-key-file");
    dir.write("dataToIndex.txt", "older\n");
    let types = "expected string, int, float or bool";
    for (text, message) in [
        ("a string\nb date\nc bool\n", format!("2: unknown type \"date\", {types}")),
        ("a\nb int\n", format!("1: \"a\" has no type, {types}")),
        ("a int\nb int 5\n", "2: unexpected \"5\" after the type".to_owned()),
        ("a int\n\na string\n", "3: name \"a\" is already that of line 1".to_owned()),
        ("", "1: no field, expected lines like \"age int\"".to_owned()),
    ] {
        dir.write("fields", text);
        let run = dir.run("-k fields -n 5 -d 2 -m 1 -l 4");
        assert_eq!(run, Run::failure(&format!("[Error] fields:{message}")), "{text:?}");
    }
    assert_eq!(dir.read("dataToIndex.txt"), "older\n");
    assert_eq!(dir.names(), ["dataToIndex.txt", "fields", "keyFile.txt"]);
}

#[test]
fn types_blanks_and_line_ends_of_a_key_file_are_read_as_meant() {
    let dir = Dir::new("types");
    dir.write("fields", "a \t boolean\r\n\r\n  b  bool  \r\n");
    let run = dir.run("-k fields -n 60 -d 0 -m 2 -l 1 -o - --seed 1");
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.contains("\"a\" : true") && run.stdout.contains("\"b\" : false"));
}

#[test]
fn an_older_output_is_replaced() {
    let dir = Dir::new("replace");
    dir.write("records", &"older\n".repeat(1_000));
    let run = dir.run("-k keyFile.txt -n 2 -d 0 -m 0 -l 1 -o records");
    assert_eq!(run, Run::silent_success());
    assert_eq!(dir.read("records"), "\"person0\": {  } \n\"person1\": {  } \n");
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let dir = Dir::new("unwritable");
    let args = "-k keyFile.txt -n 5 -d 2 -m 5 -l 4 -o";
    assert_eq!(dir.run(&format!("{args} .")), Run::failure("[Errno 21] Is a directory: '.'"));
    assert_eq!(
        dir.run(&format!("{args} no/file")),
        Run::failure("[Errno 2] No such file or directory: 'no/file'")
    );
    assert_eq!(dir.names(), ["keyFile.txt"]);
}

/// The reader goes away long before the ten million records are written.
#[test]
fn a_closed_pipe_ends_the_program_quietly() {
    let dir = Dir::new("pipe");
    let mut child = dir
        .command("-k keyFile.txt -n 10000000 -d 2 -m 5 -l 4 -o -")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("\"person0\": { "));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let dir = Dir::new("full");
    let args = "-k keyFile.txt -n 1 -d 2 -m 5 -l 4 -o /dev/full";
    assert_eq!(dir.run(args), Run::failure("[Errno 28] No space left on device: '/dev/full'"));
}

/// A limit on the size of files stands for a disk that fills up half-way.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_leaves_the_older_output_and_nothing_else() {
    let dir = Dir::new("fills-up");
    dir.write("dataToIndex.txt", "older\n");
    let output = Command::new("sh")
        .current_dir(&dir.0)
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
        .arg(program())
        .args("-k keyFile.txt -n 1000 -d 2 -m 5 -l 4".split(' '))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr, "[Errno 27] File too large: 'dataToIndex.txt'\n");
    assert_eq!(dir.read("dataToIndex.txt"), "older\n");
    assert_eq!(dir.names(), ["dataToIndex.txt", "keyFile.txt"]);
}

#[cfg(unix)]
#[test]
fn an_output_behind_a_symbolic_link_is_replaced_and_the_link_stays() {
    let dir = Dir::new("link");
    dir.write("target", "older\n");
    std::os::unix::fs::symlink("target", dir.0.join("link")).unwrap();
    let run = dir.run("-k keyFile.txt -n 1 -d 0 -m 0 -l 1 -o link");
    assert_eq!(run, Run::silent_success());
    assert_eq!(dir.read("target"), "\"person0\": {  } \n");
    assert!(dir.0.join("link").is_symlink());
}
