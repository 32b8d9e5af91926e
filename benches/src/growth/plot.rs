//! Costs as one drawing: a panel a contender, both axes logarithmic, legible on light and on dark.

use super::measure::{
    APPEND, BULK, BYTES, Grown, MEASURES, MEMORY, Measure, OPEN, OPEN_CRASHED, POINT, REFOLD, RUN,
    VERIFY_OPEN,
};
use super::table::grouped;
use std::fmt::Write as _;

/// What has a line, and its colour: of middle lightness, so that it is seen on any ground.
const LINES: [(&str, &str); 10] = [
    (APPEND, "#2f7ed8"),
    (BULK, "#1aa5a5"),
    (OPEN_CRASHED, "#d9534f"),
    (OPEN, "#e08a1e"),
    (POINT, "#8a63d2"),
    (RUN, "#c259a8"),
    (MEMORY, "#8c8c8c"),
    (BYTES, "#7a9a2a"),
    (REFOLD, "#3f9e4d"),
    (VERIFY_OPEN, "#a8743f"),
];
const WIDTH: f64 = 760.0;
/// Of a panel, with its title and the sizes below it.
const HEIGHT: f64 = 290.0;
/// Edges of what is drawn, within a panel.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 250.0;
const STYLE: &str = "text{font:12px sans-serif;fill:#333}.grid{stroke:#888;stroke-opacity:.5}\
    .line{fill:none;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#ddd}}";

/// Where values lie in a panel.
struct Scale {
    sizes: (f64, f64),
    costs: (f64, f64),
}

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn x(&self, size: u64) -> f64 {
        let (low, high) = self.sizes;
        let share = ((size as f64).log10() - low) / (high - low).max(f64::MIN_POSITIVE);
        LEFT + share * (RIGHT - LEFT)
    }

    fn y(&self, cost: f64) -> f64 {
        let (low, high) = self.costs;
        BOTTOM - (cost.log10() - low) / (high - low) * (BOTTOM - TOP)
    }
}

/// What, its colour, and costs by size.
type Line = (&'static Measure, &'static str, Vec<(u64, f64)>);

fn lines(grown: &Grown) -> Vec<Line> {
    let found = LINES.iter().filter_map(|(name, colour)| {
        let measure = MEASURES.iter().find(|measure| measure.name == *name)?;
        let points = grown.steps.iter();
        let points = points.filter_map(|step| Some((step.events, grown.cost(measure, step)?)));
        Some((measure, *colour, points.collect::<Vec<_>>()))
    });
    found.filter(|(_, _, points)| points.len() > 1).collect()
}

/// A whole SVG file (SVG 1.1, with a style sheet).
pub(super) fn svg(all: &[Grown]) -> String {
    let costs = all.iter().flat_map(lines).flat_map(|(_, _, points)| points);
    // Whole powers of ten, and at least half of one around 1.
    let (low, high) = costs.fold((0.5_f64, 2.0_f64), |(low, high), (_, cost)| {
        (low.min(cost), high.max(cost))
    });
    let sizes = all.iter().flat_map(|grown| &grown.steps);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let sizes = sizes.fold((f64::MAX, 1.0_f64), |(low, high), step| {
        let size = (step.events.max(1) as f64).log10();
        (low.min(size), high.max(size))
    });
    let costs = (low.log10(), high.log10());
    let scale = Scale { sizes, costs };
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let height = HEIGHT * all.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\"><style>{STYLE}</style>\n"
    );
    for (at, grown) in all.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let top = HEIGHT * at as f64;
        panel(&mut out, grown, &scale, top);
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, grown: &Grown, scale: &Scale, top: f64) {
    let mut add = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    add(format!("<g transform=\"translate(0,{top})\">"));
    add(format!(
        "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}: cost of each, the smallest log = 1</text>",
        grown.contender
    ));
    let (low, high) = scale.costs;
    // Powers of ten, and what is between them where there are few.
    let between: &[f64] = if high - low < 2.0 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let powers = -3..=6;
    for cost in powers.flat_map(|power| between.iter().map(move |part| part * 10_f64.powi(power))) {
        if (low..=high).contains(&cost.log10()) {
            let y = scale.y(cost);
            add(format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{cost} x</text>",
                LEFT - 6.0,
                y + 4.0
            ));
        }
    }
    for step in &grown.steps {
        let x = scale.x(step.events);
        add(format!(
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 18.0,
            grouped(step.events)
        ));
    }
    let mut lines = lines(grown);
    // The legend in the order in which the lines end.
    let end = |points: &[(u64, f64)]| points.last().map_or(0.0, |(_, cost)| *cost);
    lines.sort_by(|(_, _, one), (_, _, other)| end(other).total_cmp(&end(one)));
    let mut y = TOP + 6.0;
    for (measure, colour, points) in lines {
        let mut path = String::new();
        for (at, (size, cost)) in points.iter().enumerate() {
            let to = if at == 0 { 'M' } else { 'L' };
            // Writing to a string does not fail.
            let _ = write!(path, "{to}{:.1} {:.1}", scale.x(*size), scale.y(*cost));
        }
        add(format!(
            "<path class=\"line\" stroke=\"{colour}\" d=\"{path}\"/>\
             <path class=\"line\" stroke=\"{colour}\" d=\"M{} {y}h20\"/>\
             <text x=\"{}\" y=\"{}\">{:.2} x  {}</text>",
            RIGHT + 14.0,
            RIGHT + 40.0,
            y + 4.0,
            end(&points),
            measure.name
        ));
        y += 20.0;
    }
    add("</g>".to_owned());
}

#[cfg(test)]
mod tests {
    use super::super::measure::Step;
    use super::*;

    #[test]
    fn each_contender_has_a_panel_and_each_measure_a_line() {
        let step = |events, rate, open| {
            let mut step = Step {
                events,
                ..Step::default()
            };
            step.add(BULK, rate);
            step.add(OPEN, open);
            step
        };
        let grown = |contender| Grown {
            contender,
            steps: vec![step(10_000, 100.0, 0.01), step(1_000_000, 50.0, 1.0)],
        };
        let drawn = svg(&[grown("one"), grown("other")]);
        assert_eq!(drawn.matches("<g transform").count(), 2, "{drawn}");
        assert_eq!(drawn.matches("2.00 x  append, 1,000 a commit").count(), 2);
        assert_eq!(drawn.matches("100.00 x  open<").count(), 2);
        // From the left edge to the right one, the dearest at the top.
        assert!(drawn.contains("L500.0 36.0"), "{drawn}");
        assert!(!drawn.contains("NaN"), "{drawn}");
    }
}
