//! The prompt: lines in, answers out.

use std::io::{self, Write};
use std::process::ExitCode;

use triekv::{Broker, Transport};

use crate::answer::answer;
use crate::lines::{LINE_BYTES_MAX, Line, Lines};

const HELP: &str = "\
PUT KEY:{ \"name\" : \"Mary\" ; \"address\" : { \"city\" : \"Athens\" } }
GET KEY                  the whole record
QUERY KEY.address.city   a part of it
DELETE KEY
!DISCONNECT              leaves, as Ctrl-D does";

/// Answers lines until they end. Blocks the thread while it waits for one.
pub(crate) async fn run<T: Transport>(broker: &Broker<T>) -> io::Result<ExitCode> {
    let mut out = io::stdout();
    let mut lines = Lines::open()?;
    loop {
        let line = match lines.next()? {
            Line::Text(line) => line,
            Line::NotUtf8 => {
                writeln!(out, "[Error] The line is not UTF-8!")?;
                continue;
            }
            Line::TooLong => {
                writeln!(out, "[Error] The line has more than {LINE_BYTES_MAX} bytes!")?;
                continue;
            }
            Line::End => return Ok(ExitCode::SUCCESS),
            Line::Interrupted => return Ok(ExitCode::from(crate::INTERRUPTED)),
        };
        match line.trim_matches([' ', '\t', '\r', '\n']) {
            "" => {}
            "!DISCONNECT" => {
                writeln!(out, "kvBroker has been disconnected! Bye!")?;
                return Ok(ExitCode::SUCCESS);
            }
            "help" | "HELP" if matches!(lines, Lines::Terminal(_)) => writeln!(out, "{HELP}")?,
            line => writeln!(out, "{}", answer(broker, line).await)?,
        }
    }
}
