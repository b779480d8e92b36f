//! The traces and what each rule made of them, as an SVG.

use crate::world::{Outcome, RATE, Trace};
use std::fmt::Write;

const COLOURS: [&str; 3] = ["#1f77b4", "#d62728", "#2ca02c"];
const W: f64 = 860.0;
const H: f64 = 150.0;

pub fn svg(drawn: &[(&Trace, Vec<(&'static str, Outcome)>)]) -> String {
    let height = drawn.len() as f64 * (H + 40.0) + 20.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (i, (trace, all)) in drawn.iter().enumerate() {
        let top = i as f64 * (H + 40.0) + 25.0;
        let most = f64::from(all.iter().map(|(_, o)| o.most).max().unwrap_or(1)) + 1.0;
        let at = |t: u32, n: f64| {
            (
                60.0 + f64::from(t) / f64::from(trace.seconds) * W,
                top + H - n / most * H,
            )
        };
        let _ = write!(
            out,
            "<text x=\"60\" y=\"{}\" font-weight=\"bold\">{}</text>",
            top - 6.0,
            trace.name
        );
        let needed: String = (0..trace.seconds)
            .step_by(10)
            .map(|t| at(t, ((trace.load)(t).0 / (RATE * 0.8)).min(most)))
            .map(|(x, y)| format!("{x:.1},{y:.1} "))
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{needed}\" fill=\"none\" stroke=\"#bbb\"/>"
        );
        for ((name, o), colour) in all.iter().zip(COLOURS) {
            let line: String = (0..trace.seconds)
                .step_by(5)
                .map(|t| at(t, f64::from(o.dynos[t as usize])))
                .map(|(x, y)| format!("{x:.1},{y:.1} "))
                .collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
            );
            let x = 160.0 + 270.0 * COLOURS.iter().position(|c| *c == colour).unwrap_or(0) as f64;
            let _ = writeln!(
                out,
                "<text x=\"{x}\" y=\"{}\" fill=\"{colour}\">{name}: {:.0} failed, {:.0} spare dyno-min</text>",
                top - 6.0,
                o.failed,
                o.spare_minutes
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"10\" y=\"{:.0}\">{most:.0}</text><text x=\"10\" y=\"{:.0}\">dynos</text><line x1=\"60\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"#888\"/>",
            top + 10.0,
            top + H / 2.0,
            60.0 + W,
            y = top + H
        );
    }
    out + "</svg>\n"
}
