//! Decides whether the machine was quiet enough for the figures to mean something.

use super::report::Arm;

/// A ratio that is known less exactly than this share of itself means little.
const HALF_WIDTH: f64 = 0.03;
/// Other programs may take this share of the machine's CPU time: what is compared takes turns.
const OTHERS: f64 = 0.10;

/// Why the machine was too noisy; empty if it was quiet.
pub(crate) fn reasons(arms: &[Arm]) -> Vec<String> {
    let mut reasons = Vec::new();
    for arm in arms {
        let half_width = arm.ratio_interval.map_or(0.0, |interval| interval.half_width());
        if half_width > HALF_WIDTH {
            reasons.push(format!(
                "the ratio of {} with {} detectors is known to ± {:.0} % only",
                arm.arm,
                arm.detectors,
                half_width * 100.0
            ));
        }
    }
    let others = arms.iter().map(|arm| arm.others.median).fold(0.0, f64::max);
    if others > OTHERS {
        reasons.push(format!("other programs took {:.0} % of the CPU time", others * 100.0));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arm(half_width: f64, others: f64) -> Arm {
        let measured = |value: f64| json!({ "median": value, "min": value, "max": value, "mad": 0.0, "times": 5 });
        let interval = json!({ "ratio": 1.0, "low": 1.0 - half_width, "high": 1.0 + half_width });
        let arm = json!({
            "arm": "embedded", "detectors": 2, "arrangement": "2 × 1", "limit": false,
            "frames_per_second": measured(50.0), "ratio": measured(1.0),
            "ratio_interval": interval, "over_one": null,
            "frames": 250, "failed": 0, "objects": 9, "latency_ms": {}, "processes": [],
            "cpu_outside": null, "others": measured(others)
        });
        serde_json::from_value(arm).unwrap()
    }

    #[test]
    fn a_quiet_machine_gives_no_reason_and_each_disturbance_gives_its_own() {
        assert_eq!(reasons(&[arm(0.01, 0.01), arm(0.02, 0.0)]), Vec::<String>::new());
        assert_eq!(reasons(&[arm(0.01, 0.2)]), ["other programs took 20 % of the CPU time"]);
        assert_eq!(
            reasons(&[arm(0.06, 0.0)]),
            ["the ratio of embedded with 2 detectors is known to ± 6 % only"]
        );
    }
}
