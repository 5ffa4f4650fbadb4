//! Whether a new build request makes an older, waiting one of the same builder superfluous
//! (`docs/compat/behaviour-2-builds.md` 2.4).

use std::collections::{BTreeMap, BTreeSet};

use crate::{BuildsetId, Properties, Property, RequestId, SourceStamp, SourceStampId};

/// The source of properties that a scheduler gives to its buildsets.
const SCHEDULER: &str = "Scheduler";

/// A request as the rule sees it.
#[derive(Clone, Debug)]
pub struct Candidate {
    request: RequestId,
    buildset: BuildsetId,
    by_codebase: BTreeMap<String, SourceStamp>,
    with_changes: BTreeSet<SourceStampId>,
    properties: Properties,
}

impl Candidate {
    /// A request with the sourcestamps and properties of its buildset. `with_changes` names those of the sourcestamps
    /// that at least one change points to.
    pub fn new(
        request: RequestId,
        buildset: BuildsetId,
        sourcestamps: impl IntoIterator<Item = SourceStamp>,
        with_changes: impl IntoIterator<Item = SourceStampId>,
        properties: Properties,
    ) -> Candidate {
        Candidate {
            request,
            buildset,
            by_codebase: sourcestamps.into_iter().map(|stamp| (stamp.codebase.clone(), stamp)).collect(),
            with_changes: with_changes.into_iter().collect(),
            properties,
        }
    }

    fn has_changes(&self, stamp: &SourceStamp) -> bool {
        self.with_changes.contains(&stamp.id)
    }

    /// What a scheduler asked for beside its name: what two schedulers want alike is wanted once.
    fn wishes(&self) -> impl Iterator<Item = (&str, &Property)> {
        self.properties
            .iter()
            .filter(|(name, property)| property.source() == SCHEDULER && *name != "scheduler")
    }
}

/// Buildbot's default rule: whether building `new` also serves who wanted `old`.
///
/// Both have to be requests of the same builder; `old` has to be unclaimed. Who asks completes `old` as skipped.
pub fn collapses(new: &Candidate, old: &Candidate) -> bool {
    if new.buildset == old.buildset {
        return true;
    }
    // A request never makes room for one that was there before it.
    if new.request < old.request {
        return false;
    }
    same_sources(new, old) && new.wishes().eq(old.wishes())
}

fn same_sources(new: &Candidate, old: &Candidate) -> bool {
    new.by_codebase.keys().eq(old.by_codebase.keys())
        && new.by_codebase.values().zip(old.by_codebase.values()).all(|(a, b)| {
            same_place(a, b)
                && match (new.has_changes(a), old.has_changes(b)) {
                    // The newer revision contains the older changes.
                    (true, true) => true,
                    (false, false) => a.revision == b.revision,
                    _ => false,
                }
        })
}

fn same_place(a: &SourceStamp, b: &SourceStamp) -> bool {
    a.repository == b.repository
        && a.branch == b.branch
        && a.project == b.project
        && a.patch.is_none()
        && b.patch.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Patch, Timestamp};

    /// A sourcestamp, and whether it came from changes.
    type Source = (SourceStamp, bool);

    fn source(revision: Option<&str>, has_changes: bool) -> Source {
        let stamp = SourceStamp {
            id: SourceStampId(1),
            branch: Some("main".into()),
            revision: revision.map(str::to_owned),
            repository: "repo".into(),
            project: "p".into(),
            codebase: String::new(),
            patch: None,
            created_at: Timestamp(0),
        };
        (stamp, has_changes)
    }

    fn with_stamp(change: impl FnOnce(&mut SourceStamp)) -> Source {
        let mut source = source(None, false);
        change(&mut source.0);
        source
    }

    fn patched() -> Source {
        let patch = Patch {
            id: 1,
            level: 1,
            body: vec![],
            author: String::new(),
            comment: String::new(),
            subdir: None,
        };
        with_stamp(|stamp| stamp.patch = Some(patch))
    }

    fn candidate(request: i64, buildset: i64, sources: &[Source], properties: &Properties) -> Candidate {
        let with_changes = sources.iter().filter(|source| source.1).map(|source| source.0.id);
        Candidate::new(
            RequestId(request),
            BuildsetId(buildset),
            sources.iter().map(|source| source.0.clone()),
            with_changes.collect::<Vec<_>>(),
            properties.clone(),
        )
    }

    fn decide(new: &[Source], old: &[Source]) -> bool {
        let properties = Properties::new();
        collapses(&candidate(2, 2, new, &properties), &candidate(1, 1, old, &properties))
    }

    #[test]
    fn revisions_may_differ_only_where_both_come_from_changes() {
        assert!(decide(&[source(Some("b"), true)], &[source(Some("a"), true)]));
        assert!(!decide(&[source(Some("b"), true)], &[source(Some("a"), false)]));
        assert!(!decide(&[source(Some("a"), true)], &[source(Some("a"), false)]));
        assert!(decide(&[source(None, false)], &[source(None, false)]));
        assert!(!decide(&[source(Some("b"), false)], &[source(Some("a"), false)]));
    }

    #[test]
    fn branch_repository_project_and_codebases_must_agree() {
        let plain = source(None, false);
        let others = [
            with_stamp(|stamp| stamp.branch = None),
            with_stamp(|stamp| stamp.repository = "other".into()),
            with_stamp(|stamp| stamp.project = "other".into()),
            with_stamp(|stamp| stamp.codebase = "other".into()),
        ];
        for other in others {
            assert!(!decide(std::slice::from_ref(&other), std::slice::from_ref(&plain)), "{other:?}");
        }
        let more = with_stamp(|stamp| stamp.codebase = "second".into());
        assert!(!decide(&[plain.clone(), more], &[plain]));
    }

    #[test]
    fn a_patched_request_never_collapses() {
        assert!(!decide(&[patched()], &[patched()]));
        assert!(!decide(&[patched()], &[source(None, false)]));
        assert!(!decide(&[source(None, false)], &[patched()]));
    }

    #[test]
    fn only_a_newer_request_covers_an_older_one_but_a_buildset_covers_its_own() {
        let sources = [source(None, false)];
        let of = |request, buildset| candidate(request, buildset, &sources, &Properties::new());
        assert!(collapses(&of(2, 2), &of(1, 1)));
        assert!(!collapses(&of(1, 1), &of(2, 2)));
        assert!(collapses(&of(1, 1), &of(2, 1)));
    }

    #[test]
    fn properties_of_the_scheduler_must_agree_except_its_name() {
        let sources = [source(None, false)];
        let of = |request, scheduler: &str, option: &str, reason: &str| {
            let mut set = Properties::new();
            set.set("scheduler", scheduler, "Scheduler");
            set.set("option", option, "Scheduler");
            set.set("reason", reason, "Force Build Form");
            candidate(request, request, &sources, &set)
        };
        let old = of(1, "nightly", "x", "why");
        assert!(collapses(&of(2, "force", "x", "because"), &old));
        assert!(!collapses(&of(2, "nightly", "y", "why"), &old));
    }
}
