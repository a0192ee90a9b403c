//! Reports as a picture in SVG: a panel for each metric, in it a group of bars for each workload, and
//! in that a bar for each map.
//!
//! A bar is the ratio to [`ANCHOR`] on a logarithmic scale, so that half and twice are equally far
//! from the line at 1, and the picture doesn't depend on how fast the machine is.

use std::fmt::{self, Write};

use crate::contender::{ANCHOR, Contender, Report, Row};
use crate::measure::{Metric, Sample};

const WIDTH: f64 = 980.0;
const MARGIN: f64 = 24.0;
/// Of the title, the caption and the legend.
const HEAD_HEIGHT: f64 = 132.0;

/// Panels beside one another.
const COLUMNS: usize = 2;
const GUTTER: f64 = 28.0;
const PANEL_WIDTH: f64 = (WIDTH - 2.0 * MARGIN - GUTTER) / 2.0;
/// Above the bars: the name of the metric, and room for how far a bar goes on.
const TITLE_HEIGHT: f64 = 32.0;
/// Left of the bars: the label of the axis and its ticks.
const AXIS_WIDTH: f64 = 52.0;
const BARS_WIDTH: f64 = PANEL_WIDTH - AXIS_WIDTH;
/// From a power of two to the next, in all panels, so that bars of all of them can be compared.
const POWER_HEIGHT: f64 = 27.0;
/// Below the bars: the names of the workloads, and room to the next panel.
const NAMES_HEIGHT: f64 = 48.0;
/// From one line of text to the next.
const LINE_HEIGHT: f64 = 17.0;
/// The share of a group's width that its bars take.
const GROUP_SHARE: f64 = 0.8;

/// The axis ends here at the latest, up and down. Bars that go on say how far.
const POWER_MAX: i32 = 4;

const STYLE: &str =
    "text { font: 12px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #222 }
.title { font-size: 20px; font-weight: bold }
.metric { font-weight: bold }
.soft { fill: #555 }
.tick { font-size: 11px; fill: #555 }
.beyond { font-size: 8px }
.grid { stroke: #e0e0e0 }
.anchor { stroke: #000; stroke-width: 1.5 }";

const TITLE: &str = "Ordered maps from byte strings, compared with BTreeMap";

/// Draws the reports that have numbers of [`ANCHOR`]; the others have nothing to be related to.
///
/// # Errors
///
/// None, for a string takes all that is written to it.
pub(crate) fn svg(reports: &[Report], keys: usize, rounds: usize) -> Result<String, fmt::Error> {
    let groups: Vec<Group> = reports.iter().filter_map(Group::new).collect();
    let mut body = String::new();
    legend(&mut body, &groups)?;
    let mut y = HEAD_HEIGHT;
    for metrics in Metric::ALL.chunks(COLUMNS) {
        let axis = Axis::new(&groups, metrics);
        for (column, &metric) in metrics.iter().enumerate() {
            let x = MARGIN + number(column) * (PANEL_WIDTH + GUTTER);
            writeln!(body, r#"<g transform="translate({x} {y})">"#)?;
            panel(&mut body, metric, &groups, &axis)?;
            writeln!(body, "</g>")?;
        }
        y += TITLE_HEIGHT + axis.height() + NAMES_HEIGHT;
    }
    for note in notes(reports, &groups) {
        writeln!(body, r#"<text class="soft" x="{MARGIN}" y="{y}">{note}</text>"#)?;
        y += LINE_HEIGHT;
    }
    let height = y + MARGIN - LINE_HEIGHT / 2.0;
    Ok(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">
<title>{TITLE}</title>
<style>
{STYLE}
</style>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text class="title" x="{MARGIN}" y="40">{TITLE}</text>
<text class="soft" x="{MARGIN}" y="63">Each bar is a ratio to BTreeMap, on a logarithmic scale: below the line a map is faster or smaller than BTreeMap, above it slower or larger.</text>
<text class="soft" x="{MARGIN}" y="80">CPU time of one thread, and bytes of heap; {keys} keys a workload, medians of {rounds} interleaved rounds.</text>
{body}</svg>
"##
    ))
}

/// What isn't to be seen in the bars, a line each.
fn notes(reports: &[Report], groups: &[Group]) -> Vec<String> {
    let of_maps = contenders(groups)
        .into_iter()
        .filter_map(|contender| Some(format!("{} {}.", contender.name, contender.note?)));
    let of_reports = reports.iter().flat_map(|report| {
        report.left_out.iter().map(|sentence| format!("{}: {sentence}.", report.kind.name()))
    });
    of_maps.chain(of_reports).collect()
}

/// A workload: the numbers of the maps that have bars, and those that the bars relate to.
struct Group<'a> {
    name: &'static str,
    rows: Vec<&'a Row>,
    anchor: &'a Sample,
}

impl<'a> Group<'a> {
    fn new(report: &'a Report) -> Option<Self> {
        let (anchors, rows): (Vec<_>, Vec<_>) =
            report.rows.iter().partition(|row| row.contender.name == ANCHOR);
        Some(Self { name: report.kind.name(), rows, anchor: &anchors.first()?.medians })
    }

    fn ratio(&self, row: &Row, metric: Metric) -> f64 {
        row.medians[metric] / self.anchor[metric]
    }
}

/// The maps that have a bar in any of the groups.
fn contenders<'a>(groups: &'a [Group]) -> Vec<&'a Contender> {
    let mut all: Vec<&Contender> = Vec::new();
    for row in groups.iter().flat_map(|group| &group.rows) {
        if !all.iter().any(|contender| contender.name == row.contender.name) {
            all.push(row.contender);
        }
    }
    all
}

/// The scale that panels beside one another share.
struct Axis {
    /// The powers of two at its lower and upper end.
    powers: (i32, i32),
}

impl Axis {
    /// Makes an axis that is as long as the bars of `metrics` need, but at least from a half to twice.
    fn new(groups: &[Group], metrics: &[Metric]) -> Self {
        let mut powers = (-1, 1);
        for group in groups {
            for row in &group.rows {
                for &metric in metrics {
                    let ratio = group.ratio(row, metric);
                    while ratio < 2_f64.powi(powers.0) && powers.0 > -POWER_MAX {
                        powers.0 -= 1;
                    }
                    while ratio > 2_f64.powi(powers.1) && powers.1 < POWER_MAX {
                        powers.1 += 1;
                    }
                }
            }
        }
        Self { powers }
    }

    fn height(&self) -> f64 {
        POWER_HEIGHT * f64::from(self.powers.1 - self.powers.0)
    }

    /// How far below the top of a panel `ratio` lies, within the panel.
    fn y(&self, ratio: f64) -> f64 {
        let (low, high) = (f64::from(self.powers.0), f64::from(self.powers.1));
        TITLE_HEIGHT + POWER_HEIGHT * (high - ratio.log2().clamp(low, high))
    }

    /// Whether `ratio` lies beyond one of the ends.
    fn is_beyond(&self, ratio: f64) -> bool {
        ratio < 2_f64.powi(self.powers.0) || ratio > 2_f64.powi(self.powers.1)
    }
}

fn legend(svg: &mut String, groups: &[Group]) -> fmt::Result {
    let y = 108.0;
    let mut x = MARGIN;
    for contender in contenders(groups) {
        let (name, colour) = (contender.name, contender.colour);
        let top = y - 10.0;
        writeln!(svg, r#"<rect x="{x}" y="{top}" width="12" height="12" fill="{colour}"/>"#)?;
        x += 18.0;
        writeln!(svg, r#"<text x="{x}" y="{y}">{name}</text>"#)?;
        // About as wide as the text is in most fonts, and room to the next.
        x += 7.5 * number(name.len()) + 18.0;
    }
    let (end, line_y, text_x) = (x + 18.0, y - 4.0, x + 24.0);
    writeln!(svg, r#"<line class="anchor" x1="{x}" y1="{line_y}" x2="{end}" y2="{line_y}"/>"#)?;
    writeln!(svg, r#"<text x="{text_x}" y="{y}">{ANCHOR}: 1</text>"#)
}

fn panel(svg: &mut String, metric: Metric, groups: &[Group], axis: &Axis) -> fmt::Result {
    writeln!(
        svg,
        r#"<text x="{AXIS_WIDTH}" y="14"><tspan class="metric">{}</tspan> <tspan class="soft" dx="4">{}</tspan></text>"#,
        metric.name(),
        metric.meaning()
    )?;
    ticks(svg, metric, axis)?;
    let maps = contenders(groups);
    let group_width = BARS_WIDTH / number(groups.len());
    let bar_width = GROUP_SHARE * group_width / number(maps.len());
    let mut x = AXIS_WIDTH;
    for group in groups {
        // The place of a map that was left out stays empty.
        for row in &group.rows {
            let place = maps.iter().take_while(|map| map.name != row.contender.name).count();
            let bar_x = x + group_width * (1.0 - GROUP_SHARE) / 2.0 + bar_width * number(place);
            bar(svg, row.contender, group.ratio(row, metric), axis, (bar_x, bar_width))?;
        }
        let (middle, y) = (x + group_width / 2.0, TITLE_HEIGHT + axis.height() + 18.0);
        let name = group.name;
        writeln!(svg, r#"<text x="{middle:.1}" y="{y}" text-anchor="middle">{name}</text>"#)?;
        x += group_width;
    }
    // Drawn over the bars, which begin at it.
    let y = axis.y(1.0);
    writeln!(
        svg,
        r#"<line class="anchor" x1="{AXIS_WIDTH}" y1="{y}" x2="{PANEL_WIDTH}" y2="{y}"/>"#
    )
}

/// Draws the axis of a panel: its label, and a line and a number at each power of two.
fn ticks(svg: &mut String, metric: Metric, axis: &Axis) -> fmt::Result {
    let what = if metric == Metric::Bytes { "bytes" } else { "time" };
    let middle = TITLE_HEIGHT + axis.height() / 2.0;
    writeln!(
        svg,
        r#"<text class="tick" transform="translate(10 {middle}) rotate(-90)" text-anchor="middle">{what} / BTreeMap’s</text>"#
    )?;
    for power in axis.powers.0..=axis.powers.1 {
        let ratio = 2_f64.powi(power);
        let label = if power < 0 { format!("1/{}", 1.0 / ratio) } else { ratio.to_string() };
        let y = axis.y(ratio);
        let (text_x, text_y) = (AXIS_WIDTH - 6.0, y + 4.0);
        writeln!(
            svg,
            r#"<line class="grid" x1="{AXIS_WIDTH}" y1="{y:.1}" x2="{PANEL_WIDTH}" y2="{y:.1}"/>
<text class="tick" x="{text_x}" y="{text_y:.1}" text-anchor="end">{label}</text>"#
        )?;
    }
    Ok(())
}

/// Draws a bar at `x` that is `width` wide, and at its end how far it would go on.
fn bar(
    svg: &mut String,
    contender: &Contender,
    ratio: f64,
    axis: &Axis,
    (x, width): (f64, f64),
) -> fmt::Result {
    let (end, anchor) = (axis.y(ratio), axis.y(1.0));
    let (top, height) = (end.min(anchor), (end - anchor).abs());
    let colour = contender.colour;
    writeln!(
        svg,
        r#"<rect x="{x:.1}" y="{top:.1}" width="{:.1}" height="{height:.1}" fill="{colour}"/>"#,
        (width - 1.0).max(0.5)
    )?;
    if axis.is_beyond(ratio) {
        let (middle, y) = (x + width / 2.0, if ratio > 1.0 { end - 3.0 } else { end + 9.0 });
        let digits = if ratio > 1.0 { 0 } else { 2 };
        writeln!(
            svg,
            r#"<text class="beyond" x="{middle:.1}" y="{y:.1}" text-anchor="middle">{ratio:.digits$}</text>"#
        )?;
    }
    Ok(())
}

/// A small count as a number to reckon with.
fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::CONTENDERS;
    use crate::workload::Kind;

    /// A report in which the map at each place takes `times[place]` for everything.
    fn report(times: &[f64]) -> Report {
        let row = |(contender, &time): (&'static Contender, _)| {
            let mut medians = Sample::default();
            for metric in Metric::ALL {
                medians[metric] = time;
            }
            Row { contender, medians }
        };
        let rows = CONTENDERS.iter().zip(times).map(row).collect();
        Report { kind: Kind::Ids, description: String::new(), rows, left_out: Vec::new() }
    }

    #[test]
    fn half_lies_as_far_below_the_line_as_twice_above() {
        let reports = [report(&[1.0, 2.0, 4.0])];
        let groups: Vec<Group> = reports.iter().filter_map(Group::new).collect();
        let axis = Axis::new(&groups, &Metric::ALL);
        assert_eq!(axis.powers, (-1, 1));
        assert!((axis.y(0.5) - axis.y(1.0) - POWER_HEIGHT).abs() < 1e-9);
        assert!((axis.y(1.0) - axis.y(2.0) - POWER_HEIGHT).abs() < 1e-9);
    }

    #[test]
    fn each_map_but_the_anchor_has_a_bar_in_each_panel() {
        let svg = svg(&[report(&[1.0, 2.0, 100.0])], 1, 1).unwrap();
        for (place, bars) in [(0, 1), (1, 0), (2, 1)] {
            let fill = format!("fill=\"{}\"", CONTENDERS[place].colour);
            let in_legend = bars;
            assert_eq!(svg.matches(&fill).count(), bars * Metric::ALL.len() + in_legend);
        }
        assert_eq!(svg.matches(">50</text>").count(), Metric::ALL.len(), "beyond the axis");
    }

    #[test]
    fn a_report_without_the_anchor_is_not_drawn() {
        let svg = svg(&[report(&[1.0])], 1, 1).unwrap();
        assert_eq!(svg.matches("triekv").count(), 0);
    }
}
