use std::io::Write;

use moliceiro_service::stdout;
use serde::Serialize;

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// It does not work.
    Problem,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, Debug, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Report(Vec<Check>);

#[derive(Serialize)]
struct Printed<'a> {
    /// True without a problem.
    ok: bool,
    checks: &'a [Check],
}

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.0.push(Check { check, state: State::Ok, found: found.into(), advice: None });
    }

    pub(super) fn warning(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, State::Warning, found.into(), advice.into());
    }

    pub(super) fn problem(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, State::Problem, found.into(), advice.into());
    }

    fn add(&mut self, check: &'static str, state: State, found: String, advice: String) {
        let advice = Some(advice).filter(|advice| !advice.is_empty());
        self.0.push(Check { check, state, found, advice });
    }

    pub(super) fn has_problem(&self) -> bool {
        self.0.iter().any(|check| check.state == State::Problem)
    }

    /// One line for each check, or one JSON object.
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = stdout();
        if json {
            let printed = Printed { ok: !self.has_problem(), checks: &self.0 };
            writeln!(out, "{}", serde_json::to_string(&printed)?)?;
            return Ok(());
        }
        for Check { check, state, found, advice } in &self.0 {
            // Each is one line, whatever an error contains.
            let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
            write!(out, "{:<7}  {check}: {found}", state.name())?;
            match advice {
                Some(advice) => writeln!(out, "; {advice}")?,
                None => writeln!(out)?,
            }
        }
        Ok(())
    }
}
