//! Requests that collapse as a function of the configuration says.
//!
//! Functions are asked outside of transactions: a buildset is committed first, then its questions are asked, one after the
//! other for each builder, and what the answers say is another transaction. Meanwhile this master builds nothing of the
//! builder, so that the older request isn't begun under the question.

use muster_core::{BuildRequest, BuildsetId, Claim, RequestId, Results};
use muster_store::{Committed, Error, Result, Tx, buildsets, query};
use serde_json::{Map, Value};

use super::{
    buildsets::complete_request,
    questions::{CollapseQuestion, CollapseQuestions},
};
use crate::{AddedBuildset, Data, now, resources};

/// What the function sees of a question.
#[derive(Clone, Debug)]
pub struct CollapseViews {
    /// The new request, as REST shows it.
    pub new: Value,
    /// Those of the older ones that still wait, oldest first.
    pub older: Vec<(RequestId, Value)>,
    /// What can be looked up about them, by REST's path.
    pub resources: Map<String, Value>,
}

impl Data {
    /// What collapses only as a function says.
    pub fn collapse_questions(&self) -> &CollapseQuestions {
        &self.questions
    }

    /// What the function sees; `None`: nothing is left to collapse.
    pub async fn collapse_views(&self, question: &CollapseQuestion) -> Result<Option<CollapseViews>> {
        self.db().look("collapse_views", |tx| async move { views(&tx, question).await }).await
    }

    /// Completes older requests that another one stands for; answers those that were still pending.
    pub async fn collapse(&self, older: &[RequestId]) -> Result<Vec<RequestId>> {
        let Some(master) = self.collapse_policy().master else { return Ok(Vec::new()) };
        let committed = self.db().tx("collapse", |tx| async move {
            let at = now();
            let (mut collapsed, mut events) = (Vec::new(), Vec::new());
            for old in older {
                if buildsets::claim(&tx, *old, Claim { master, at }).await? {
                    events.extend(complete_request(&tx, *old, Results::Skipped, at).await?);
                    collapsed.push(*old);
                }
            }
            Ok::<_, Error>((collapsed, events))
        });
        Ok(self.tell(committed.await?))
    }

    /// Asks what a new buildset leaves to be asked, and tells its events.
    pub(super) fn tell_set<T: Clone>(
        &self,
        committed: Committed<(T, Vec<muster_bus::Event>)>,
        set: impl Fn(&T) -> Option<&AddedBuildset>,
    ) -> T {
        // Before the events: the distributor must find its builder held.
        if let Some(added) = set(&committed.0) {
            self.questions.put(&added.questions);
        }
        self.tell(committed)
    }
}

async fn views(tx: &Tx, question: &CollapseQuestion) -> Result<Option<CollapseViews>> {
    let pending = buildsets::pending_among(tx, &question.older).await?;
    let mut ids: Vec<RequestId> = pending.iter().map(|pending| pending.id).collect();
    if ids.is_empty() {
        return Ok(None);
    }
    ids.push(question.new);
    let requests = query::requests::by_ids(tx, &ids).await?;
    let Some(new) = requests.get(&question.new) else { return Ok(None) };
    let sets: Vec<BuildsetId> = requests.values().map(|request| request.buildset).collect();
    let set_ids: Vec<i64> = sets.iter().map(|set| set.0).collect();
    let properties = query::properties::of_buildsets(tx, &set_ids, &query::properties::Wanted::All).await?;
    let mut found = Map::new();
    for set in query::buildsets::by_ids(tx, &sets).await? {
        let own = properties.get(&set.id.0).cloned().unwrap_or_default();
        found.insert(format!("buildsets/{}", set.id), resources::buildset(&set));
        found.insert(format!("buildsets/{}/properties", set.id), resources::properties(&own));
    }
    if let Some(builder) = query::builders::by_id(tx, question.builder).await? {
        found.insert(format!("builders/{}", builder.id), resources::builder(&builder));
    }
    for request in requests.values() {
        found.insert(format!("buildrequests/{}", request.id), resources::build_request(request));
    }
    let view = |request: &BuildRequest| resources::build_request(request);
    let mut older: Vec<&BuildRequest> = requests.values().filter(|request| request.id != new.id).collect();
    older.sort_by_key(|request| (request.submitted_at, request.id));
    Ok(Some(CollapseViews {
        new: view(new),
        older: older.into_iter().map(|request| (request.id, view(request))).collect(),
        resources: found,
    }))
}
