//! The report as a chart: frames per second of each way, with minimum and maximum.

use std::path::Path;

use anyhow::{Context, bail};
use plotters::prelude::*;

use crate::report::{Arm, Report};

const SIZE: (u32, u32) = (900, 420);
const LIMIT: RGBColor = RGBColor(70, 130, 180);
const OTHER: RGBColor = RGBColor(160, 195, 220);

/// Writes the chart as SVG. Fails if the report lacks the part `throughput`.
pub(crate) fn write(report: &Report, path: &Path) -> anyhow::Result<()> {
    let arms = &report.arms;
    if arms.is_empty() {
        bail!("--svg needs the part throughput");
    }
    draw(report, arms, path).with_context(|| format!("cannot write {}", path.display()))
}

fn draw(report: &Report, arms: &[Arm], path: &Path) -> anyhow::Result<()> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let highest = arms.iter().map(|arm| arm.frames_per_second.max).fold(0.0, f64::max);
    let (input, cores) = (&report.input, report.machine.cores);
    let noisy = if report.noise.is_empty() { "" } else { " (the machine was too noisy)" };
    let title = format!(
        "{}, {} frames, {cores} cores: frames per second{noisy}",
        input.names(),
        input.frames
    );
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(64)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..arms.len() as f64, 0.0..highest * 1.12)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .max_light_lines(0)
        .y_desc("frames/s")
        .draw()?;
    for (index, arm) in arms.iter().enumerate() {
        let (left, right, middle) = (index as f64 + 0.15, index as f64 + 0.85, index as f64 + 0.5);
        let speed = &arm.frames_per_second;
        let color = if arm.limit { LIMIT } else { OTHER };
        chart
            .draw_series([Rectangle::new([(left, 0.0), (right, speed.median)], color.filled())])?;
        chart.draw_series([PathElement::new(
            [(middle, speed.min), (middle, speed.max)],
            BLACK.stroke_width(2),
        )])?;
        let above =
            |value: f64, text: String| EmptyElement::at((middle, value)) + centred(text, -16);
        chart.draw_series([above(speed.max, format!("{:.1}", speed.median))])?;
        let mut below = vec![arm.arm.clone(), arm.arrangement.clone()];
        below.extend(
            arm.ratio
                .as_ref()
                .filter(|_| !arm.limit)
                .map(|ratio| format!("{:.0} %", ratio.median * 100.0)),
        );
        below.extend(arm.limit.then(|| "limit".to_owned()));
        for (line, text) in (0..).zip(below) {
            chart.draw_series([EmptyElement::at((middle, 0.0)) + centred(text, 6 + 16 * line)])?;
        }
    }
    area.present()?;
    Ok(())
}

fn centred(text: String, down: i32) -> Text<'static, (i32, i32), String> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let style = TextStyle::from(("sans-serif", 13)).pos(Pos::new(HPos::Center, VPos::Top));
    Text::new(text, (0, down), style)
}
