//! The curve: pods over time, ours and the peer's, as a drawing that needs nothing to be looked at but a browser.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;

/// One line of the drawing: its name, how it looks, and pods by seconds.
pub struct Line<'a> {
    pub name: String,
    pub colour: &'a str,
    pub dashed: bool,
    pub points: Vec<(f64, usize)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
/// Points of one line: more than anybody can tell apart.
const POINTS: usize = 120;

/// Draws them into a file.
pub fn draw(file: &Path, title: &str, lines: &[Line<'_>]) -> Result<()> {
    fs::write(file, svg(title, lines)?)?;
    Ok(())
}

fn svg(title: &str, lines: &[Line<'_>]) -> Result<String> {
    let all = || lines.iter().flat_map(|line| &line.points);
    let (longest, most) =
        (all().map(|(at, _)| *at).fold(1.0, f64::max), all().map(|(_, ready)| *ready).max().unwrap_or(1).max(1));
    let place =
        |at: f64, ready: usize| (LEFT + at / longest * WIDTH, TOP + HEIGHT - as_f64(ready) / as_f64(most) * HEIGHT);
    let (full_width, full_height, bottom) = (LEFT + WIDTH + 30.0, TOP + HEIGHT + 50.0, TOP + HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {full_width} {full_height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n"
    );
    for step in 0..=4 {
        let (ready, at) = (most * step / 4, longest * as_f64(step) / 4.0);
        let (x, y) = (place(at, 0).0, place(0.0, ready).1);
        writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{:.1}\" stroke=\"#ddd\"/>", LEFT + WIDTH)?;
        writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ready}</text>", LEFT - 6.0, y + 4.0)?;
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at:.0} s</text>", bottom + 18.0)?;
    }
    for (index, line) in lines.iter().enumerate() {
        let every = line.points.len().div_ceil(POINTS).max(1);
        let last = line.points.last().into_iter();
        let points: Vec<String> = line
            .points
            .iter()
            .step_by(every)
            .chain(last)
            .map(|(at, ready)| {
                let (x, y) = place(*at, *ready);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\" points=\"{}\"/>",
            line.colour,
            if line.dashed { "4 3" } else { "none" },
            points.join(" ")
        )?;
        let y = bottom + 38.0;
        let x = LEFT + as_f64(index) * WIDTH / as_f64(lines.len());
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"{y}\">{}</text>",
            y - 10.0,
            line.colour,
            x + 18.0,
            line.name
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

#[expect(clippy::cast_precision_loss, reason = "thousands of pods")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

#[test]
fn a_curve_ends_where_its_last_point_is() {
    let points: Vec<(f64, usize)> = (0..1000).map(|at| (f64::from(at), usize::try_from(at).unwrap_or(0))).collect();
    let svg = svg("x", &[Line { name: "ours".into(), colour: "#36c", dashed: false, points }]).unwrap_or_default();
    assert!(svg.contains(&format!("{:.1},{TOP:.1}\"", LEFT + WIDTH)), "{svg}");
    assert!(svg.len() < 6000, "{}", svg.len());
}
