//! What a scheduler can't do, kept until it can: the log says it once, the scheduler's row as long as it holds.

use muster_core::ChangeId;

/// Changes that are named one by one.
const NAMED: usize = 5;

/// What went wrong last, by what it takes to prove the contrary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Deciding about a change.
    deciding: Option<String>,
    /// Making a buildset.
    building: Option<String>,
}

impl Trouble {
    /// A function that decides about changes has failed with this one, which is not built.
    pub(crate) fn deciding_failed(&mut self, change: ChangeId, why: &str) {
        self.deciding = Some(format!("change {change} is not built: {why}"));
    }

    /// A change was decided about.
    pub(crate) fn decided(&mut self) {
        self.deciding = None;
    }

    /// These changes (none: what was due by the clock) are not built.
    pub(crate) fn building_failed(&mut self, changes: &[ChangeId], why: &str) {
        let named: Vec<String> = changes.iter().take(NAMED).map(|id| id.to_string()).collect();
        let more = if changes.len() > NAMED { " and more" } else { "" };
        let what = match changes.len() {
            0 => "what was due is".to_owned(),
            1 => format!("change {} is", named.join("")),
            _ => format!("changes {}{more} are", named.join(", ")),
        };
        self.building = Some(format!("{what} not built: {why}"));
    }

    /// Something was built.
    pub(crate) fn built(&mut self) {
        self.building = None;
    }

    /// For people; `None`: all is well.
    pub(crate) fn text(&self) -> Option<String> {
        let told: Vec<&str> =
            [&self.deciding, &self.building].into_iter().flatten().map(String::as_str).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_until_the_contrary_is_proved() {
        let mut trouble = Trouble::default();
        trouble.deciding_failed(ChangeId(1), "fileIsImportant failed");
        trouble.built();
        assert_eq!(trouble.text().unwrap(), "change 1 is not built: fileIsImportant failed");
        trouble.building_failed(&[2, 3].map(ChangeId), "properties: no");
        assert!(trouble.text().unwrap().ends_with("; changes 2, 3 are not built: properties: no"));
        trouble.decided();
        trouble.building_failed(&[], "reason: no");
        assert_eq!(trouble.text().unwrap(), "what was due is not built: reason: no");
        trouble.built();
        assert_eq!(trouble.text(), None);
        trouble.building_failed(&[1, 2, 3, 4, 5, 6].map(ChangeId), "x");
        assert!(trouble.text().unwrap().starts_with("changes 1, 2, 3, 4, 5 and more are"));
    }
}
