//! Buildsets are made, and older requests collapse into new ones.

use std::collections::BTreeMap;

use muster_bus::Event;
use muster_core::policy::{Action, Permit};
use muster_core::{
    BuildId, BuildRequest, BuilderId, Buildset, BuildsetId, Claim, MasterId, Properties, RequestId, Results,
    SourceStamp, SourceStampId, Timestamp,
    collapse::{self, Candidate},
};
use muster_store::{
    Error, Result, Tx,
    buildsets::{self, BuildsetRow},
    changes, query,
    sourcestamps::{self, NewSourceStamp},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    owned::fence,
    questions::{Collapse, CollapseQuestion, MAX_COMPARED},
};
use crate::{Data, limits, now, resources};

/// A version of the sources: one that is known, or one to be found or made.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum SourceOf {
    Id(SourceStampId),
    New(Box<NewSourceStamp>),
}

/// A buildset to be made.
#[derive(Clone, Debug, Default)]
pub struct NewBuildset {
    /// The scheduler's name; goes into the event, which `Dependent` schedulers of Python masters look at.
    pub scheduler: String,
    /// Why, for people.
    pub reason: String,
    /// One for each codebase.
    pub sources: Vec<SourceOf>,
    /// For all builds of the set.
    pub properties: Properties,
    /// One request for each.
    pub builders: Vec<BuilderId>,
    /// Free id of whoever wants it.
    pub external_idstring: Option<String>,
    /// The build that triggers it, and how the two are related.
    pub parent: Option<(BuildId, String)>,
    /// The first build of a chain of rebuilds.
    pub rebuilt_build: Option<BuildId>,
    /// A step waits for it.
    pub waited_for: bool,
    /// Higher is built first.
    pub priority: i64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AddedBuildset {
    pub id: BuildsetId,
    pub requests: Vec<(BuilderId, RequestId)>,
    /// What a function has to be asked now. Who reads a buildset later asks nothing again.
    #[serde(skip)]
    pub(super) questions: Vec<CollapseQuestion>,
}

impl AddedBuildset {
    pub(super) fn itself(&self) -> Option<&AddedBuildset> {
        Some(self)
    }
}

/// Which builders collapse older requests into new ones; the others keep all.
#[derive(Clone, Debug, Default)]
pub struct CollapsePolicy {
    /// Who completes the collapsed ones; `None` collapses nothing.
    pub master: Option<MasterId>,
    /// Builders of this master, and how they collapse.
    pub builders: BTreeMap<BuilderId, Collapse>,
}

impl Data {
    /// Makes a buildset with its requests; older compatible requests collapse into them.
    pub async fn add_buildset(&self, set: NewBuildset) -> Result<AddedBuildset> {
        let set = &set;
        let policy = self.collapse_policy();
        let policy = &policy;
        let owned = self.owned();
        let added = self.db().tx("add_buildset", |tx| async move {
            fence(&tx, owned).await?;
            insert(&tx, set, policy).await
        });
        let added = added.await?;
        Ok(self.tell_set(added, AddedBuildset::itself))
    }

    /// The same for a buildset that somebody asks for with a form.
    pub async fn force(&self, permit: &Permit, set: NewBuildset) -> Result<AddedBuildset> {
        permit.must_be_for(&Action::Force);
        tracing::info!(actor = %permit.actor(), scheduler = set.scheduler, reason = set.reason, "builds were forced");
        self.add_buildset(set).await
    }

    /// Makes requests pending again that Buildbot's housekeeping has left claimed by a master that is gone; answers how
    /// many.
    pub async fn free_orphans(&self) -> Result<usize> {
        let freed = self.db().tx("free_orphans", |tx| async move {
            let freed = buildsets::unclaim_orphans(&tx).await?;
            let mut events = Vec::with_capacity(freed.len());
            for request in &freed {
                events.push(request_event(&tx, *request, "unclaimed").await?);
            }
            Ok::<_, Error>((freed.len(), events))
        });
        Ok(self.tell(freed.await?))
    }

    /// Publishes the events of a commit and hands out its result.
    pub(crate) fn tell<T: Clone>(&self, committed: muster_store::Committed<(T, Vec<Event>)>) -> T {
        let result = committed.0.clone();
        self.bus().publish(committed.map(|(_, events)| events));
        result
    }
}

/// Inserts a buildset and its requests; answers the events that tell about them.
pub(crate) async fn insert(
    tx: &Tx,
    set: &NewBuildset,
    policy: &CollapsePolicy,
) -> Result<(AddedBuildset, Vec<Event>)> {
    let now = now();
    let sources = sources_of(tx, set, now).await?;
    let row = BuildsetRow {
        reason: limits::reason(&set.reason),
        external_idstring: set.external_idstring.as_deref().map(limits::reason),
        parent: set.parent.clone(),
        rebuilt_build: set.rebuilt_build,
    };
    let source_ids: Vec<SourceStampId> = sources.iter().map(|source| source.id).collect();
    let properties = limits::storable(&set.properties, tx.dialect());
    let id = buildsets::insert(tx, &row, &properties, &source_ids, now).await?;
    let mut events = vec![new_buildset_event(id, set, &row, sources, now)];
    let requests =
        buildsets::insert_requests(tx, id, &set.builders, set.priority, set.waited_for, now).await?;
    let requests: Vec<(BuilderId, RequestId)> = set.builders.iter().copied().zip(requests).collect();
    let mut questions = Vec::new();
    for (builder, request) in &requests {
        match (policy.master, policy.builders.get(builder)) {
            (Some(master), Some(Collapse::ByRule)) => {
                events.extend(collapse_into(tx, *builder, *request, master, now).await?);
            }
            (Some(_), Some(Collapse::Ask)) => questions.extend(question(tx, *builder, *request).await?),
            _ => {}
        }
        let new = BuildRequest {
            id: *request,
            buildset: id,
            builder: *builder,
            priority: set.priority,
            claim: None,
            submitted_at: now,
            complete: false,
            complete_at: None,
            results: None,
            waited_for: set.waited_for,
        };
        events.push(request_event_of(&new, "new"));
    }
    if requests.is_empty() && buildsets::complete_if_done(tx, id, now).await? {
        events.push(complete_buildset_event(tx, id).await?);
    }
    Ok((AddedBuildset { id, requests, questions }, events))
}

/// The versions of the sources that a set is about; those that nobody knew are made.
async fn sources_of(tx: &Tx, set: &NewBuildset, now: Timestamp) -> Result<Vec<SourceStamp>> {
    let known = set.sources.iter().filter_map(|source| match source {
        SourceOf::Id(id) => Some(id.0),
        SourceOf::New(_) => None,
    });
    let known = query::sourcestamps::by_ids(tx, &known.collect::<Vec<_>>()).await?;
    let mut sources = Vec::with_capacity(set.sources.len());
    for source in &set.sources {
        sources.push(match source {
            SourceOf::Id(id) => {
                let missing = || Error::Data(format!("there is no sourcestamp {id}"));
                known.get(id).cloned().ok_or_else(missing)?
            }
            SourceOf::New(stamp) => sourcestamps::find_or_create(tx, stamp, now).await?,
        });
    }
    Ok(sources)
}

/// What has to be asked about a new request.
async fn question(tx: &Tx, builder: BuilderId, new: RequestId) -> Result<Option<CollapseQuestion>> {
    let older = buildsets::pending_of_builder(tx, builder, new).await?;
    let older: Vec<RequestId> = older.into_iter().map(|(request, _)| request).take(MAX_COMPARED).collect();
    Ok((!older.is_empty()).then_some(CollapseQuestion { builder, new, older }))
}

/// Completes older pending requests of a builder that the new one stands for.
async fn collapse_into(
    tx: &Tx,
    builder: BuilderId,
    request: RequestId,
    master: MasterId,
    now: Timestamp,
) -> Result<Vec<Event>> {
    let older = buildsets::pending_of_builder(tx, builder, request).await?;
    if older.is_empty() {
        return Ok(Vec::new());
    }
    let new = candidate(tx, request).await?;
    let mut events = Vec::new();
    for (old, _) in older {
        if !collapse::collapses(&new, &candidate(tx, old).await?) {
            continue;
        }
        if buildsets::claim(tx, old, Claim { master, at: now }).await? {
            events.extend(complete_request(tx, old, Results::Skipped, now).await?);
        }
    }
    Ok(events)
}

async fn candidate(tx: &Tx, request: RequestId) -> Result<Candidate> {
    let missing = || Error::Data(format!("build request {request} has no buildset"));
    let row = query::requests::by_id(tx, request).await?.ok_or_else(missing)?;
    let set = query::buildsets::by_id(tx, row.buildset).await?.ok_or_else(missing)?;
    let mut with_changes = Vec::new();
    for stamp in &set.sourcestamps {
        if changes::any_of_sourcestamp(tx, stamp.id).await? {
            with_changes.push(stamp.id);
        }
    }
    let properties = query::properties::of_buildset(tx, row.buildset).await?;
    Ok(Candidate::new(request, row.buildset, set.sourcestamps, with_changes, properties))
}

/// Completes a request and, when it was the last one, its buildset; answers the events that tell about it.
pub(crate) async fn complete_request(
    tx: &Tx,
    request: RequestId,
    results: Results,
    now: Timestamp,
) -> Result<Vec<Event>> {
    if !buildsets::complete_request(tx, request, results, now).await? {
        return Ok(Vec::new());
    }
    let mut events = vec![request_event(tx, request, "complete").await?];
    let buildset = query::requests::by_id(tx, request).await?.map(|request| request.buildset);
    if let Some(buildset) = buildset
        && buildsets::complete_if_done(tx, buildset, now).await?
    {
        events.push(complete_buildset_event(tx, buildset).await?);
    }
    Ok(events)
}

/// An event about a request, under its three names.
pub(crate) async fn request_event(tx: &Tx, id: RequestId, what: &str) -> Result<Event> {
    let Some(request) = query::requests::by_id(tx, id).await? else {
        return Ok(Event::new([format!("buildrequests/{id}/{what}")], Value::Null));
    };
    Ok(request_event_of(&request, what))
}

/// The same about a request that is known.
pub(crate) fn request_event_of(request: &BuildRequest, what: &str) -> Event {
    let (id, set, builder) = (request.id, request.buildset, request.builder);
    let names = [
        format!("buildsets/{set}/builders/{builder}/buildrequests/{id}/{what}"),
        format!("buildrequests/{id}/{what}"),
        format!("builders/{builder}/buildrequests/{id}/{what}"),
    ];
    Event::new(names, resources::build_request(request))
}

/// A new buildset has the scheduler's name and no relationship (`docs/compat/message-bus.md`, "Payloads").
fn new_buildset_event(
    id: BuildsetId,
    set: &NewBuildset,
    row: &BuildsetRow,
    sourcestamps: Vec<SourceStamp>,
    now: Timestamp,
) -> Event {
    let row = Buildset {
        id,
        external_idstring: row.external_idstring.clone(),
        reason: row.reason.clone(),
        submitted_at: now,
        complete_at: None,
        results: None,
        parent_build: set.parent.as_ref().map(|(build, _)| *build),
        parent_relationship: None,
        rebuilt_build: set.rebuilt_build,
        sourcestamps,
    };
    let mut payload = resources::buildset(&row);
    if let Value::Object(fields) = &mut payload {
        fields.shift_remove("parent_relationship");
        fields.insert("scheduler".to_owned(), set.scheduler.as_str().into());
    }
    Event::new([format!("buildsets/{id}/new")], payload)
}

async fn complete_buildset_event(tx: &Tx, id: BuildsetId) -> Result<Event> {
    Ok(Event::new([format!("buildsets/{id}/complete")], buildset_payload(tx, id).await?))
}

async fn buildset_payload(tx: &Tx, id: BuildsetId) -> Result<Value> {
    let set = query::buildsets::by_id(tx, id).await?;
    Ok(set.map_or(Value::Null, |set| resources::buildset(&set)))
}
