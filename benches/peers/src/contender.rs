//! The maps that are compared, and the rounds that they run in.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use triekv::trie::Trie;

use crate::check::check;
use crate::maps::{ExperimentalBTreeMap, Field, Map};
use crate::measure::{Sample, measure};
use crate::workload::{Kind, Workload};

/// The name of the map to whose numbers the plot relates all others.
pub(crate) const ANCHOR: &str = "BTreeMap";

/// A map that is compared.
#[derive(Debug)]
pub(crate) struct Contender {
    /// The name of its crate, or of its type if it is std's.
    pub(crate) name: &'static str,
    /// Whether the subject is compared with it, rather than it being the subject.
    pub(crate) is_peer: bool,
    /// Its colour in the plot.
    pub(crate) colour: &'static str,
    /// What one has to know of it to read its numbers.
    pub(crate) note: Option<&'static str>,
    /// What it can't run, and why.
    pub(crate) unfit: Option<(Kind, &'static str)>,
    check: fn(),
    /// Measures it with values of 8 bytes.
    large: fn(&Workload) -> Sample,
    /// Measures it with values of 24 bytes.
    small: fn(&Workload) -> Sample,
}

/// All of them, the subject first. Their colours can be told apart by the colour-blind too.
pub(crate) static CONTENDERS: [Contender; 6] = [
    Contender { is_peer: false, ..peer::<Trie<usize>, Trie<Field>>("triekv", "#d55e00") },
    peer::<BTreeMap<Box<[u8]>, usize>, BTreeMap<Box<[u8]>, Field>>(ANCHOR, "#000000"),
    peer::<ExperimentalBTreeMap<Box<[u8]>, usize>, ExperimentalBTreeMap<Box<[u8]>, Field>>(
        "btree_experiment",
        "#0072b2",
    ),
    Contender {
        note: Some("refuses a key that is a prefix of another: each gets a byte at its end"),
        ..peer::<blart::TreeMap<Box<[u8]>, usize>, blart::TreeMap<Box<[u8]>, Field>>(
            "blart", "#56b4e9",
        )
    },
    Contender {
        unfit: Some((Kind::Ids, "counts children in a byte, and is memory-unsafe at 256")),
        ..peer::<fast_radix_trie::RadixMap<usize>, fast_radix_trie::RadixMap<Field>>(
            "fast_radix_trie",
            "#009e73",
        )
    },
    Contender {
        note: Some("has an order of its own, by the low half of each byte before the high half"),
        ..peer::<qp_trie::Trie<Box<[u8]>, usize>, qp_trie::Trie<Box<[u8]>, Field>>(
            "qp-trie", "#a0a0a0",
        )
    },
];

/// A map by its types for values of either size.
const fn peer<L: Map<usize>, S: Map<Field>>(name: &'static str, colour: &'static str) -> Contender {
    Contender {
        name,
        is_peer: true,
        colour,
        note: None,
        unfit: None,
        check: check::<usize, L>,
        large: measure::<usize, L>,
        small: measure::<Field, S>,
    }
}

impl Contender {
    /// Whether it does what `BTreeMap` does. If not, says on stderr that it is left out, after the
    /// message of the panic that says where it differs.
    pub(crate) fn passes_check(&self) -> bool {
        let passes = catch_unwind(self.check).is_ok();
        if !passes {
            eprintln!("{} is left out: it differs from BTreeMap", self.name);
        }
        passes
    }

    fn measure(&self, workload: &Workload) -> Sample {
        let measure = if workload.kind == Kind::Small { self.small } else { self.large };
        measure(workload)
    }
}

/// What a map needed for a workload.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) contender: &'static Contender,
    /// Over all rounds.
    pub(crate) medians: Sample,
}

/// What all maps needed for a workload.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) kind: Kind,
    pub(crate) description: String,
    pub(crate) rows: Vec<Row>,
    /// Which maps are missing from `rows`, and why.
    pub(crate) left_out: Vec<String>,
}

impl Report {
    /// Runs each map once in each of the `rounds`, so that a noisy minute spoils one round of all maps
    /// instead of all rounds of one. Each round begins with another map, since the heap that a map
    /// finds is the one that the map before it left.
    pub(crate) fn new(
        workload: &Workload,
        contenders: &[&'static Contender],
        rounds: usize,
    ) -> Self {
        let kind = workload.kind;
        let mut left_out = Vec::new();
        let mut runs: Vec<(&Contender, Vec<Sample>)> = Vec::new();
        for &contender in contenders {
            match contender.unfit {
                Some((unfit_for, reason)) if unfit_for == kind => {
                    left_out.push(format!("{} is left out: it {reason}", contender.name));
                }
                _ => runs.push((contender, Vec::new())),
            }
        }
        for round in 0..rounds {
            eprintln!("{}: round {} of {rounds}", kind.name(), round + 1);
            if round > 0 && !runs.is_empty() {
                runs.rotate_left(1);
            }
            runs.retain_mut(|(contender, samples)| {
                let sample = catch_unwind(|| contender.measure(workload));
                let passes = sample.is_ok();
                if !passes {
                    eprintln!("{} is left out of {}: it failed", contender.name, kind.name());
                    left_out.push(format!("{} is left out: it failed", contender.name));
                }
                samples.extend(sample);
                passes
            });
        }
        let mut rows: Vec<Row> = runs
            .into_iter()
            .map(|(contender, samples)| Row { contender, medians: Sample::medians(&samples) })
            .collect();
        rows.sort_by_key(|row| {
            contenders.iter().position(|other| other.name == row.contender.name)
        });
        Self { kind, description: workload.description(), rows, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn all_maps_pass_and_finish_all_that_they_are_fit_for() {
        let all: Vec<&Contender> = CONTENDERS.iter().collect();
        assert!(all.iter().all(|contender| contender.passes_check()));
        for kind in Kind::value_variants() {
            let workload = Workload::new(*kind, 500, None).unwrap();
            let report = Report::new(&workload, &all, 2);
            assert_eq!(report.rows.len(), if *kind == Kind::Ids { 5 } else { 6 });
            assert_eq!(report.rows[0].contender.name, "triekv");
        }
    }
}
