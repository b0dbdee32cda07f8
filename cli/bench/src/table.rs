//! The report as text.

use std::fmt::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::report::{Arm, Quick, Report};
use crate::statistics::Measured;

/// The whole report.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    let machine = &report.machine;
    let input = &report.input;
    // `ok`: writing to a string cannot fail.
    writeln!(
        text,
        "{} ({}), {} cores, {}",
        report.program, report.build, machine.cores, machine.processor
    )
    .ok();
    writeln!(
        text,
        "{}: {} frames, {}, {} × {}; median{} (min to max)",
        input.names(),
        input.frames,
        input.model,
        input.picture[0],
        input.picture[1],
        if report.quick.is_some() { String::new() } else { format!(" of {}", report.repetitions) }
    )
    .ok();
    if let Some(quick) = &report.quick {
        write!(text, "\n{}", self::quick(quick)).ok();
    }
    if !report.arms.is_empty() {
        write!(text, "\nSpeed\n{}\n", speed(&report.arms)).ok();
        write!(text, "\nTime of a frame by stage, p50 / p99 in ms\n{}\n", latency(&report.arms))
            .ok();
        write!(text, "\nUsage of processes\n{}\n", processes(&report.arms)).ok();
    }
    if !report.figures.is_empty() {
        let mut table = table(&["part", "what", "value", "unit"]);
        for figure in &report.figures {
            table.add_row([
                figure.part.clone(),
                figure.what.clone(),
                shown(&figure.value),
                figure.unit.clone(),
            ]);
        }
        write!(text, "\nParts\n{table}\n").ok();
    }
    if report.stopped {
        writeln!(text, "\nStopped before its end: this is what was measured until then.").ok();
    }
    if report.build == "debug" {
        writeln!(text, "\nThis is a debug build: its figures mean little. Use a release build.")
            .ok();
    }
    if !report.noise.is_empty() {
        writeln!(
            text,
            "\nThe machine was too noisy for the figures to mean much: {}.",
            report.noise.join("; ")
        )
        .ok();
    }
    text.lines().map(str::trim_end).fold(String::new(), |text, line| text + line + "\n")
}

fn quick(quick: &Quick) -> String {
    let Quick { detectors, arrangement, slices, seconds, limit, embedded, ratio, objects } = quick;
    format!(
        "limit     {} frames/s, fused, sessions × threads {arrangement}\n\
         embedded  {} frames/s, {detectors} detectors\n\
         ratio     {:.3}, between {:.3} and {:.3} with 95 % confidence\n\
         {slices} slices of each in {seconds:.0} s; {objects} objects in a slice\n",
        shown(limit),
        shown(embedded),
        ratio.ratio,
        ratio.low,
        ratio.high
    )
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table
}

fn right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A value with its range.
fn shown(value: &Measured) -> String {
    let digits = match value.median.abs() {
        0.0..10.0 => 3,
        10.0..1000.0 => 1,
        _ => 0,
    };
    let Measured { median, min, max, .. } = value;
    format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
}

fn ratio(value: Option<&Measured>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{:.3}", value.median))
}

fn speed(arms: &[Arm]) -> Table {
    let mut table = table(&[
        "detectors",
        "way",
        "sessions × threads",
        "frames/s",
        "to the limit",
        "to 1 detector",
        "CPU outside",
        "objects",
    ]);
    for arm in arms {
        let limit = if arm.limit { " (limit)" } else { "" };
        let outside = arm
            .cpu_outside
            .as_ref()
            .map_or_else(|| "-".into(), |share| format!("{:.1} %", share.median * 100.0));
        table.add_row([
            arm.detectors.to_string(),
            format!("{}{limit}", arm.arm),
            arm.arrangement.clone(),
            shown(&arm.frames_per_second),
            ratio(arm.ratio.as_ref()),
            ratio(arm.over_one.as_ref()),
            outside,
            arm.objects.to_string(),
        ]);
    }
    right(&mut table, 4..8);
    table
}

fn latency(arms: &[Arm]) -> Table {
    const STAGES: [&str; 7] =
        ["payload", "tensor", "inference", "boxes", "waiting", "detecting", "counting"];
    let header: Vec<_> =
        ["detectors", "way", "sessions × threads"].into_iter().chain(STAGES).collect();
    let mut table = table(&header);
    for arm in arms {
        let head = [arm.detectors.to_string(), arm.arm.clone(), arm.arrangement.clone()];
        let stage = |stage: &&str| match arm.latency_ms.get(*stage) {
            Some(latency) => format!("{:.1} / {:.1}", latency.p50, latency.p99),
            None => "-".into(),
        };
        table.add_row(head.into_iter().chain(STAGES.iter().map(stage)));
    }
    right(&mut table, 3..10);
    table
}

fn processes(arms: &[Arm]) -> Table {
    let mut table = table(&[
        "detectors",
        "way",
        "sessions × threads",
        "process",
        "CPU ms/frame",
        "peak MB",
        "written kB/frame",
        "CPU ms/frame by threads",
    ]);
    for arm in arms {
        for process in &arm.processes {
            let threads: Vec<_> = process
                .threads_cpu_ms_per_frame
                .iter()
                .map(|(kind, ms)| format!("{kind} {ms:.2}"))
                .collect();
            table.add_row([
                arm.detectors.to_string(),
                arm.arm.clone(),
                arm.arrangement.clone(),
                process.process.clone(),
                format!("{:.2}", process.cpu_ms_per_frame.median),
                format!("{:.1}", process.peak_rss_bytes as f64 / 1e6),
                format!("{:.1}", process.written_bytes_per_frame.median / 1e3),
                threads.join(", "),
            ]);
        }
    }
    right(&mut table, 4..7);
    table
}
