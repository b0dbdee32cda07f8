//! Decides whether the machine was quiet enough for the figures to mean something.

use super::report::{Arm, Machine};

/// The repetitions of the limit may spread by this share of their median.
const SPREAD: f64 = 0.10;
/// Other programs may take this share of the machine's CPU time.
const OTHERS: f64 = 0.05;
/// The load average before the benchmark may be this much per core.
const LOAD: f64 = 0.3;

/// Why the machine was too noisy; empty if it was quiet.
pub(crate) fn reasons(machine: &Machine, arms: &[Arm]) -> Vec<String> {
    let mut reasons = Vec::new();
    if machine.load_before > LOAD * machine.cores as f64 {
        reasons.push(format!(
            "the load average before the benchmark was {:.2} on {} cores",
            machine.load_before, machine.cores
        ));
    }
    for arm in arms.iter().filter(|arm| arm.limit && arm.frames_per_second.spread() > SPREAD) {
        let spread = arm.frames_per_second.spread() * 100.0;
        reasons.push(format!(
            "the repetitions of the limit with {} detectors differ by {spread:.0} %",
            arm.detectors
        ));
    }
    let others = arms.iter().map(|arm| arm.others.max).fold(0.0, f64::max);
    if others > OTHERS {
        reasons.push(format!("other programs took up to {:.0} % of the CPU time", others * 100.0));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(load_before: f64) -> Machine {
        Machine { cores: 2, processor: "a processor".into(), load_before }
    }

    fn arm(limit: bool, slowest: f64, others: f64) -> Arm {
        let measured = |min: f64, max: f64| {
            let (mad, times) = (0.0, 5);
            json!({ "median": max, "min": min, "max": max, "mad": mad, "times": times })
        };
        let arm = json!({
            "arm": "fused", "detectors": 2, "arrangement": "2 × 1", "limit": limit,
            "frames_per_second": measured(slowest, 50.0), "ratio": null, "over_one": null,
            "frames": 250, "failed": 0, "objects": 9, "latency_ms": {}, "processes": [],
            "cpu_outside": null, "others": measured(0.0, others)
        });
        serde_json::from_value(arm).unwrap()
    }

    #[test]
    fn a_quiet_machine_gives_no_reason_and_each_disturbance_gives_its_own() {
        let arms = |others| [arm(true, 48.0, others), arm(false, 20.0, 0.0)];
        assert_eq!(reasons(&machine(0.5), &arms(0.01)), Vec::<String>::new());
        assert!(reasons(&machine(1.5), &arms(0.01))[0].contains("before the benchmark was 1.50"));
        assert!(reasons(&machine(0.5), &arms(0.2))[0].contains("20 % of the CPU time"));
        assert!(
            reasons(&machine(0.5), &[arm(true, 40.0, 0.0)])[0]
                .contains("with 2 detectors differ by 20 %")
        );
    }
}
