//! Reports as tables in Markdown.

use std::fmt::{self, Display, Formatter};

use crate::contender::{Contender, Report, Row};
use crate::measure::Metric;

/// Shows a heading, the table, and why maps are missing from it.
///
/// In brackets stands the ratio to the best of the peers, of which the subject isn't one. Columns are
/// padded, so that the table can be read as it is.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{}\n", self.kind.name(), self.description)?;
        let mut columns = vec![self.names()];
        columns.extend(Metric::ALL.map(|metric| self.column(metric)));
        for (line, _) in columns[0].iter().enumerate() {
            for (place, column) in columns.iter().enumerate() {
                let width = column.iter().map(String::len).max().unwrap_or(0);
                match (place, line) {
                    (0, 1) => write!(f, "|{:-<1$}|", "", width + 2)?,
                    (_, 1) => write!(f, "{:->1$}|", ":", width + 2)?,
                    (0, _) => write!(f, "| {:<width$} |", column[line])?,
                    (_, _) => write!(f, " {:>width$} |", column[line])?,
                }
            }
            writeln!(f)?;
        }
        self.left_out.iter().try_for_each(|sentence| writeln!(f, "\n{sentence}."))
    }
}

impl Report {
    /// The cells of the first column: a heading, a place for the line below it, and names.
    fn names(&self) -> Vec<String> {
        let names = self.rows.iter().map(|row| row.contender.name);
        ["map", ""].into_iter().chain(names).map(str::to_owned).collect()
    }

    /// The cells of another column.
    fn column(&self, metric: Metric) -> Vec<String> {
        let peers = self.rows.iter().filter(|row| row.contender.is_peer);
        let best = peers.map(|row| row.medians[metric]).min_by(f64::total_cmp);
        let cell = |row: &Row| {
            let number = row.medians[metric];
            let ratio = best.map(|best| format!(" ({:.2})", number / best)).unwrap_or_default();
            format!("{number:.digits$}{ratio}", digits = usize::from(number < 9.95))
        };
        let head = [metric.name().to_owned(), String::new()];
        head.into_iter().chain(self.rows.iter().map(cell)).collect()
    }
}

/// What the numbers in the tables are, and what one has to know of the maps to read them.
pub(crate) fn legend(contenders: &[&Contender], rounds: usize) -> String {
    let metrics = Metric::ALL.map(|metric| format!("- {}: {}\n", metric.name(), metric.meaning()));
    let notes = contenders.iter().filter_map(|contender| {
        contender.note.map(|note| format!("- {} {note}\n", contender.name))
    });
    format!(
        "Medians of {rounds} interleaved rounds: nanoseconds of the thread's CPU time, and bytes.\n\
         In brackets: times the best peer's. Less is better.\n\n{}\n{}",
        metrics.concat(),
        notes.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::CONTENDERS;
    use crate::measure::Sample;
    use crate::workload::Kind;

    #[test]
    fn the_subject_is_compared_with_the_best_peer_and_is_not_one() {
        let row = |place: usize, get| {
            let mut medians = Sample::default();
            for metric in Metric::ALL {
                medians[metric] = 1.0;
            }
            medians[Metric::Get] = get;
            Row { contender: &CONTENDERS[place], medians }
        };
        let report = Report {
            kind: Kind::Ids,
            description: "some keys".to_owned(),
            rows: vec![row(0, 5.0), row(1, 100.4), row(2, 10.0)],
            left_out: vec!["One is missing".to_owned()],
        };
        let text = report.to_string();
        let column: Vec<&str> =
            text.lines().filter_map(|line| line.split('|').nth(3)).map(str::trim).collect();
        assert_eq!(column, ["get", "------------:", "5.0 (0.50)", "100 (10.04)", "10 (1.00)"]);
        assert!(text.starts_with("## ids\n\nsome keys\n\n| map "));
        assert!(text.ends_with("\n\nOne is missing.\n"));
    }
}
