//! Whether the machine was quiet enough for the figures to mean something.

use super::report::{Arm, Machine};

/// Repetitions of the limit may differ by this much.
const SPREAD: f64 = 0.10;
/// Others may take this share of the machine.
const OTHERS: f64 = 0.05;
/// And so many may have wanted a core before, for each core.
const LOAD: f64 = 0.3;

/// Why the machine was too noisy; nothing if it was not.
pub(crate) fn reasons(machine: &Machine, arms: &[Arm]) -> Vec<String> {
    let mut reasons = Vec::new();
    if machine.load_before > LOAD * machine.cores as f64 {
        reasons.push(format!(
            "the load average was {:.2} before the benchmark began, on {} cores",
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
        reasons.push(format!("others took up to {:.0} % of the processors", others * 100.0));
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
        let measured = |min: f64, max: f64| json!({"median": max, "min": min, "max": max, "mad": 0.0, "times": 5});
        let arm = json!({
            "arm": "fused", "detectors": 2, "arrangement": "2 × 1", "limit": limit, "frames_per_second": measured(slowest, 50.0),
            "ratio": null, "over_one": null, "frames": 250, "failed": 0, "objects": 9, "latency_ms": {}, "processes": [],
            "cpu_outside": null, "others": measured(0.0, others)
        });
        serde_json::from_value(arm).unwrap()
    }

    #[test]
    fn a_quiet_machine_gives_no_reason_and_each_disturbance_gives_its_own() {
        let arms = |others| [arm(true, 48.0, others), arm(false, 20.0, 0.0)];
        assert_eq!(reasons(&machine(0.5), &arms(0.01)), Vec::<String>::new());
        assert!(reasons(&machine(1.5), &arms(0.01))[0].contains("load average was 1.50"));
        assert!(reasons(&machine(0.5), &arms(0.2))[0].contains("20 % of the processors"));
        assert!(
            reasons(&machine(0.5), &[arm(true, 40.0, 0.0)])[0]
                .contains("with 2 detectors differ by 20 %")
        );
    }
}
