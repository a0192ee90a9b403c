//! The prompt: lines in, answers out.

use std::io::{self, Write};
use std::process::ExitCode;

use triekv::parser::{ParseError, parse_command};
use triekv::{Broker, Transport, Value};

use crate::answer::{answer, named, not_parsed, payload};
use crate::lines::{LINE_BYTES_MAX, Line, Lines};
use crate::members;
use crate::output::Output;
use crate::snippet::Pointer;
use crate::status;
use crate::unseen;

const HELP: &str = "\
PUT KEY:{ \"name\" : \"Mary\" ; \"address\" : { \"city\" : \"Athens\" } }
GET KEY                  the whole record
QUERY KEY.address.city   a part of it
DELETE KEY
SET KEY.address.city : \"Sparta\"          puts a part; KEY.tags[0] is an item of a list
MERGE KEY : { \"name\" : null ; \"age\" : 22 }   puts fields, and removes those that are null
REMOVE KEY.address.city
STATUS                   servers, and where each shard is
EXPLAIN KEY              the shard of a key, and which servers have it
!JOIN HOST PORT          has a server hold its share
!LEAVE HOST PORT         has a server give up what it holds
!UNSAFE-RECOVER SHARD    goes on with a shard that has lost its majority for good
!DISCONNECT              leaves, as Ctrl-D does
A value goes on at the next line while a bracket is open; Ctrl-C gives it up.";

/// Answers lines until they end. Blocks the thread while it waits for one.
pub(crate) async fn run<T: Transport>(broker: &Broker<T>) -> io::Result<ExitCode> {
    let mut out = Output;
    let mut lines = Lines::open()?;
    let pointer = Pointer::new();
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
            "STATUS" => writeln!(out, "{}", status::told(&broker.status().await))?,
            line if members::is_command(line) => {
                writeln!(out, "{}", members::answer(broker, line).await)?;
            }
            line => match reply(broker, line).await {
                Ok(answer) => writeln!(out, "{answer}")?,
                Err(error) => {
                    writeln!(out, "{}", not_parsed(line, &error))?;
                    let number = line.contains('\n').then_some(error.line() as u64);
                    let shown = pointer.show(&error, &error.excerpt(line), number);
                    // Beside the answer, which is whole without it.
                    let _ = writeln!(io::stderr(), "{shown}");
                }
            },
        }
    }
}

/// The answer to a line of a verb and what it is about.
async fn reply<T: Transport>(broker: &Broker<T>, line: &str) -> Result<String, ParseError> {
    if let Some(key) = status::key_to_explain(line) {
        let key = key?;
        tell(unseen::hint(line, [key.as_str()]));
        let named = named(payload(line), Value::from(&key));
        return Ok(status::explained(&named, &broker.explain(&key).await));
    }
    let command = parse_command(line)?;
    tell(unseen::hint(line, unseen::names(&command)));
    Ok(answer(broker, line, command).await)
}

/// Tells a hint on standard error: the answer is whole without it.
fn tell(hint: Option<String>) {
    if let Some(hint) = hint {
        let _ = writeln!(io::stderr(), "{hint}");
    }
}
