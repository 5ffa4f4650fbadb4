//! Result codes and their algebra (`docs/compat/behaviour-2-builds.md` 2.1).

use serde::{Deserialize, Serialize};

/// How a step, a build, a request or a buildset ended. The numbers are Buildbot's, in every table and API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "i64")]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Results {
    Success = 0,
    Warnings = 1,
    Failure = 2,
    Skipped = 3,
    Exception = 4,
    Retry = 5,
    Cancelled = 6,
}

/// From worst to best. Cancelled outranks retry, and skipped is better than success.
const WORST_FIRST: [Results; 7] = [
    Results::Cancelled,
    Results::Retry,
    Results::Exception,
    Results::Failure,
    Results::Warnings,
    Results::Success,
    Results::Skipped,
];

impl Results {
    /// All results, by their number.
    pub const ALL: [Results; 7] = [
        Results::Success,
        Results::Warnings,
        Results::Failure,
        Results::Skipped,
        Results::Exception,
        Results::Retry,
        Results::Cancelled,
    ];

    /// The number that tables and APIs use.
    pub fn code(self) -> i64 {
        self as i64
    }

    /// The result with this number; `None` also for -1, Buildbot's "not yet".
    pub fn from_code(code: i64) -> Option<Results> {
        Results::ALL.into_iter().find(|r| r.code() == code)
    }

    /// The worse of two.
    pub fn worst(self, other: Results) -> Results {
        WORST_FIRST.into_iter().find(|r| *r == self || *r == other).unwrap_or(self)
    }

    /// `success`, `warnings`, …
    pub fn name(self) -> &'static str {
        match self {
            Results::Success => "success",
            Results::Warnings => "warnings",
            Results::Failure => "failure",
            Results::Skipped => "skipped",
            Results::Exception => "exception",
            Results::Retry => "retry",
            Results::Cancelled => "cancelled",
        }
    }

    /// `successes`, `warnings`, … as in "2 failures".
    pub fn plural(self) -> &'static str {
        match self {
            Results::Success => "successes",
            Results::Failure => "failures",
            Results::Exception => "exceptions",
            Results::Retry => "retries",
            other => other.name(),
        }
    }
}

impl From<Results> for u8 {
    fn from(results: Results) -> u8 {
        results as u8
    }
}

impl TryFrom<i64> for Results {
    type Error = String;

    fn try_from(code: i64) -> Result<Results, String> {
        Results::from_code(code).ok_or_else(|| format!("{code} is not a result code"))
    }
}

impl std::fmt::Display for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a step's result means for its build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct StepFlags {
    pub halt_on_failure: bool,
    pub flunk_on_failure: bool,
    pub flunk_on_warnings: bool,
    pub warn_on_failure: bool,
    pub warn_on_warnings: bool,
    pub always_run: bool,
}

impl Default for StepFlags {
    fn default() -> StepFlags {
        StepFlags {
            halt_on_failure: false,
            flunk_on_failure: true,
            flunk_on_warnings: false,
            warn_on_failure: false,
            warn_on_warnings: false,
            always_run: false,
        }
    }
}

/// What one step adds to its build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// Folded into the build's result with [`Results::worst`].
    pub results: Results,
    /// The remaining steps are dropped, except those with `always_run`.
    pub stop: bool,
}

impl StepFlags {
    /// The contribution of a step that ended with `results`.
    pub fn contribution(self, results: Results) -> Contribution {
        let (contributed, stop) = match results {
            Results::Failure => {
                (Self::weigh(self.flunk_on_failure, self.warn_on_failure), self.halt_on_failure)
            }
            Results::Warnings => (Self::weigh(self.flunk_on_warnings, self.warn_on_warnings), false),
            Results::Success | Results::Skipped => (results, false),
            Results::Exception | Results::Retry | Results::Cancelled => (results, true),
        };
        Contribution { results: contributed, stop }
    }

    fn weigh(flunk: bool, warn: bool) -> Results {
        match (flunk, warn) {
            (true, _) => Results::Failure,
            (false, true) => Results::Warnings,
            (false, false) => Results::Success,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_outranks_retry_and_skipped_is_better_than_success() {
        assert_eq!(Results::Retry.worst(Results::Cancelled), Results::Cancelled);
        assert_eq!(Results::Skipped.worst(Results::Success), Results::Success);
        assert_eq!(Results::Skipped.worst(Results::Skipped), Results::Skipped);
        assert_eq!(Results::Warnings.worst(Results::Failure), Results::Failure);
    }

    #[test]
    fn a_failure_flunks_unless_told_otherwise() {
        let flags = StepFlags::default();
        assert_eq!(
            flags.contribution(Results::Failure),
            Contribution { results: Results::Failure, stop: false }
        );
        assert_eq!(flags.contribution(Results::Warnings).results, Results::Success);
        let lenient = StepFlags { flunk_on_failure: false, warn_on_failure: true, ..flags };
        assert_eq!(lenient.contribution(Results::Failure).results, Results::Warnings);
        let halting = StepFlags { halt_on_failure: true, ..flags };
        assert!(halting.contribution(Results::Failure).stop);
        assert!(flags.contribution(Results::Exception).stop);
    }

    #[test]
    fn codes_are_buildbots() {
        assert_eq!(serde_json::to_string(&Results::Cancelled).unwrap(), "6");
        assert_eq!(serde_json::from_str::<Results>("2").unwrap(), Results::Failure);
        assert!(serde_json::from_str::<Results>("-1").is_err());
    }
}
