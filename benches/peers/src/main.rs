//! Compares triekv's [`Trie`](triekv::trie::Trie) with other ordered maps from byte strings: time per
//! operation, and heap bytes per key. The README says how to run it and to read what it prints.

mod alloc;
#[cfg(test)]
mod alloc_tests;
mod check;
mod contender;
mod maps;
mod measure;
mod plot;
mod table;
mod workload;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};

use contender::{ANCHOR, CONTENDERS, Contender, Report};
use workload::{Kind, Workload};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// Compares triekv's trie with other ordered maps: tables in Markdown on stdout, progress on stderr.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Keys of each workload, in one map or, in "small", in many
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,

    /// Rounds, each of which runs every map once
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Runs this workload, and no other that isn't named as well
    #[arg(long = "workload", value_name = "NAME")]
    workloads: Vec<Kind>,

    /// Runs this map, and no other that isn't named as well
    #[arg(long, value_name = "NAME")]
    #[arg(value_parser = PossibleValuesParser::new(CONTENDERS.iter().map(|contender| contender.name)))]
    only: Vec<String>,

    /// Folder whose paths are the keys of "paths", in place of made-up ones
    #[arg(long, value_name = "DIR")]
    paths_root: Option<PathBuf>,

    /// Draws the results to this file, too, as ratios to `BTreeMap`
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let wanted = |name| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let contenders: Vec<&Contender> = CONTENDERS
        .iter()
        .filter(|contender| wanted(contender.name) && contender.passes_check())
        .collect();
    if options.svg.is_some() && !contenders.iter().any(|contender| contender.name == ANCHOR) {
        return Err(format!("the plot relates all to {ANCHOR}: add --only {ANCHOR}").into());
    }

    let rounds = usize::from(options.rounds);
    let keys = usize::try_from(options.keys)?;
    println!("# Ordered maps from byte strings\n\n{}", table::legend(&contenders, rounds));
    let mut reports = Vec::new();
    for &kind in Kind::value_variants() {
        if options.workloads.is_empty() || options.workloads.contains(&kind) {
            let root = options.paths_root.as_deref();
            let workload = Workload::new(kind, keys, root)
                .map_err(|error| format!("the folder at --paths-root can't be used: {error}"))?;
            let report = Report::new(&workload, &contenders, rounds);
            println!("{report}");
            reports.push(report);
        }
    }
    if let Some(file) = &options.svg {
        let svg = plot::svg(&reports, keys, rounds)?;
        fs::write(file, svg).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}
