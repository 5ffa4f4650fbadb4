//! Buildsets and build requests.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::{
    BuildId, BuilderId, BuildsetId, Claim, MasterId, Properties, Property, RequestId, Results, SourceStampId,
    Timestamp,
    invariants::{RequestFacts, debug_check, request_is_kept},
};

use crate::{
    Committed, Db, Error, Result, Row, Tx, Value,
    dialect::{expand_list, padded},
    json_text, params,
};

/// Columns of a buildset.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct BuildsetRow {
    pub reason: String,
    pub external_idstring: Option<String>,
    pub parent: Option<(BuildId, String)>,
    pub rebuilt_build: Option<BuildId>,
}

/// Inserts a buildset with its properties and sourcestamps. One without requests must be completed by the caller.
pub async fn insert(
    tx: &Tx,
    row: &BuildsetRow,
    properties: &Properties,
    sources: &[SourceStampId],
    now: Timestamp,
) -> Result<BuildsetId> {
    let insert = "INSERT INTO buildsets (external_idstring, reason, submitted_at, complete, results, parent_buildid, \
                  parent_relationship, rebuilt_buildid) VALUES (?, ?, ?, 0, -1, ?, ?, ?)";
    let (parent, relationship) = row.parent.clone().unzip();
    let values =
        params![row.external_idstring.clone(), &row.reason, now, parent, relationship, row.rebuilt_build];
    let id = tx.insert(insert, values).await?;
    let insert = "INSERT INTO buildset_properties (buildsetid, property_name, property_value) VALUES (??)";
    let row = |(name, property): (&str, &Property)| Ok(params![id, name, json_text(property)?]);
    tx.insert_rows(insert, "(?, ?, ?)", properties.iter().map(row).collect::<Result<_>>()?).await?;
    let insert = "INSERT INTO buildset_sourcestamps (buildsetid, sourcestampid) VALUES (??)";
    tx.insert_rows(insert, "(?, ?)", sources.iter().map(|source| params![id, *source]).collect()).await?;
    Ok(BuildsetId(id))
}

/// Inserts the requests of a buildset, one for each builder, in their order.
pub async fn insert_requests(
    tx: &Tx,
    buildset: BuildsetId,
    builders: &[BuilderId],
    priority: i64,
    waited_for: bool,
    now: Timestamp,
) -> Result<Vec<RequestId>> {
    let insert = "INSERT INTO buildrequests (buildsetid, builderid, priority, complete, results, submitted_at, waited_for) \
                  VALUES (??)";
    let row = |builder: &BuilderId| params![buildset, *builder, priority, now, waited_for];
    let rows = builders.iter().map(row).collect();
    let ids = tx.insert_rows_with_ids(insert, "(?, ?, ?, 0, -1, ?, ?)", rows).await?;
    Ok(ids.into_iter().map(RequestId).collect())
}

/// The sourcestamps of a buildset.
pub async fn sourcestamps(tx: &Tx, buildset: BuildsetId) -> Result<Vec<SourceStampId>> {
    let query = "SELECT sourcestampid FROM buildset_sourcestamps WHERE buildsetid = ? ORDER BY id";
    let rows = tx.query(query, params![buildset]).await?;
    rows.iter().map(|row| row.int(0).map(SourceStampId)).collect()
}

/// A request that nobody has taken.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Pending {
    pub id: RequestId,
    pub buildset: BuildsetId,
    pub builder: BuilderId,
    pub priority: i64,
    pub submitted_at: Timestamp,
    pub waited_for: bool,
}

/// Pending requests of some builders, in the order in which they want to be built: priority, then age.
///
/// The best open ones are found first, and then whether they are claimed: to look for the claim of each open request would
/// cost as much as all claims that ever were. Requests that run come first in that order, so more are read than wanted.
pub async fn pending(tx: &Tx, builders: &[BuilderId], limit: usize) -> Result<Vec<Pending>> {
    /// Open requests that are read in addition: about as many as run at the same time.
    const CLAIMED: usize = 256;
    let query = "SELECT r.id, r.buildsetid, r.builderid, r.priority, r.submitted_at, r.waited_for, \
                 EXISTS (SELECT 1 FROM buildrequest_claims c WHERE c.brid = r.id) FROM (SELECT id, buildsetid, builderid, \
                 priority, submitted_at, waited_for FROM buildrequests WHERE complete = 0 \
                 AND builderid IN (SELECT id FROM builders WHERE id IN (??)) \
                 ORDER BY priority DESC, submitted_at, id LIMIT ?) r ORDER BY r.priority DESC, r.submitted_at, r.id";
    let builders = padded(builders.iter().map(|builder| (*builder).into()).collect());
    let query = expand_list(query, builders.len());
    let mut window = limit + limit.max(CLAIMED);
    loop {
        let mut values = builders.clone();
        values.push((window as i64).into());
        let rows = tx.query(&query, values).await?;
        let free = rows.iter().filter_map(|row| match row.bool(6) {
            Ok(true) => None,
            Ok(false) => Some(read_pending(row)),
            Err(error) => Some(Err(error)),
        });
        let free: Vec<Pending> = free.take(limit).collect::<Result<_>>()?;
        if free.len() == limit || rows.len() < window {
            return Ok(free);
        }
        window *= 4;
    }
}

/// Those of the requests that are pending.
pub async fn pending_among(tx: &Tx, requests: &[RequestId]) -> Result<Vec<Pending>> {
    let query = "SELECT r.id, r.buildsetid, r.builderid, r.priority, r.submitted_at, r.waited_for FROM buildrequests r \
                 WHERE r.id IN (??) AND r.complete = 0 \
                 AND NOT EXISTS (SELECT 1 FROM buildrequest_claims c WHERE c.brid = r.id)";
    let rows = tx.query_among(query, requests.iter().map(|request| (*request).into()).collect()).await?;
    rows.iter().map(read_pending).collect()
}

fn read_pending(row: &Row) -> Result<Pending> {
    Ok(Pending {
        id: RequestId(row.int(0)?),
        buildset: BuildsetId(row.int(1)?),
        builder: BuilderId(row.int(2)?),
        priority: row.int(3)?,
        submitted_at: row.time(4)?,
        waited_for: row.bool(5)?,
    })
}

/// Takes a request. `false`: somebody else has it, or it is done. The unique key on the claim is the judge, because
/// Python masters look nowhere else; the row's lock lets our own masters pass each other by.
pub async fn claim(tx: &Tx, request: RequestId, claim: Claim) -> Result<bool> {
    let insert = "INSERT INTO buildrequest_claims (brid, masterid, claimed_at) SELECT id, ?, ? FROM buildrequests \
                  WHERE id = ? AND complete = 0 FOR UPDATE SKIP LOCKED ON CONFLICT DO NOTHING";
    Ok(tx.execute(insert, params![claim.master, claim.at, request]).await? == 1)
}

/// Takes several requests that are built together, all or none, in a transaction of its own: with [`Error::Claimed`],
/// somebody else has one of them, or it is done. A master asks once for a request at a time: when the answer is lost, the
/// claim is known by its master.
pub async fn take_all(db: &Db, requests: &[RequestId], claim: Claim) -> Result<Committed<()>> {
    let (insert, params) = claim_statement(requests, claim);
    let query = "SELECT brid FROM buildrequest_claims WHERE masterid = ? AND brid IN (??) FOR UPDATE";
    let ids = padded(requests.iter().map(|request| (*request).into()).collect());
    let query = expand_list(query, ids.len());
    let effect = params![claim.master].into_iter().chain(ids).collect();
    let taken = db.exactly(requests.len() as u64, "take_all", (&insert, params), (&query, effect)).await?;
    taken.ok_or(Error::Claimed)
}

/// Takes the next requests of some builders, at most `limit`, in the order of [`pending`]. What another master is just
/// taking is passed over.
pub async fn claim_next(
    tx: &Tx,
    builders: &[BuilderId],
    limit: usize,
    claim: Claim,
) -> Result<Vec<RequestId>> {
    /// Candidates for each request that is wanted: so many masters may want the same ones at once.
    const WINDOW: usize = 8;
    let candidates = pending(tx, builders, limit * WINDOW).await?;
    let mut taken: Vec<RequestId> = Vec::new();
    let mut rest = candidates.as_slice();
    while taken.len() < limit && !rest.is_empty() {
        let (part, after) = rest.split_at(rest.len().min(limit - taken.len()));
        rest = after;
        let ids: Vec<RequestId> = part.iter().map(|pending| pending.id).collect();
        taken.extend(claim_free(tx, &ids, claim).await?);
    }
    Ok(taken)
}

/// Takes those of the requests that nobody has taken or is just taking; answers which, in their order.
pub async fn claim_free(tx: &Tx, requests: &[RequestId], claim: Claim) -> Result<Vec<RequestId>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let taken = match tx.returns() {
        true => claim_and_tell(tx, requests, claim).await?,
        false => lock_and_claim(tx, requests, claim).await?,
    };
    Ok(requests.iter().copied().filter(|request| taken.contains(request)).collect())
}

async fn claim_and_tell(tx: &Tx, requests: &[RequestId], claim: Claim) -> Result<BTreeSet<RequestId>> {
    let (insert, params) = claim_statement(requests, claim);
    // SQL: a statement of this module.
    let rows = tx.query(&format!("{insert} RETURNING brid"), params).await?;
    rows.iter().map(|row| row.int(0).map(RequestId)).collect()
}

/// A claim that was committed after this looked and before it had the locks shows only as one row less. Whose it is can't be
/// told then: this master itself may have taken the request, to cancel it. So the transaction runs again.
async fn lock_and_claim(tx: &Tx, requests: &[RequestId], claim: Claim) -> Result<BTreeSet<RequestId>> {
    let free = lock_free(tx, requests).await?;
    if free.is_empty() {
        return Ok(free);
    }
    let (insert, params) = claim_statement(&free, claim);
    match tx.execute(&insert, params).await? {
        taken if taken == free.len() as u64 => Ok(free),
        taken => Err(tx.run_again(format!("{taken} requests were free instead of {}", free.len())).await),
    }
}

/// Those of the requests that are open and not just being taken; they are locked.
async fn lock_free(tx: &Tx, requests: &[RequestId]) -> Result<BTreeSet<RequestId>> {
    let query = "SELECT r.id FROM buildrequests r WHERE r.id IN (??) AND r.complete = 0 \
                 AND NOT EXISTS (SELECT 1 FROM buildrequest_claims c WHERE c.brid = r.id) FOR UPDATE SKIP LOCKED";
    let rows = tx.query_among(query, requests.iter().map(|request| (*request).into()).collect()).await?;
    rows.iter().map(|row| row.int(0).map(RequestId)).collect()
}

/// Claims those of the requests that are open, claimed by nobody and not just being taken.
fn claim_statement<'a>(
    requests: impl IntoIterator<Item = &'a RequestId>,
    claim: Claim,
) -> (String, Vec<Value>) {
    let requests = padded(requests.into_iter().map(|request| (*request).into()).collect());
    let insert = "INSERT INTO buildrequest_claims (brid, masterid, claimed_at) SELECT id, ?, ? FROM buildrequests \
                  WHERE id IN (??) AND complete = 0 FOR UPDATE SKIP LOCKED ON CONFLICT DO NOTHING";
    let insert = expand_list(insert, requests.len());
    (insert, params![claim.master, claim.at].into_iter().chain(requests).collect())
}

/// Gives a request back: it is pending again. `owner` is who has the claim, not who calls.
pub async fn unclaim(tx: &Tx, request: RequestId, owner: MasterId) -> Result<bool> {
    let delete = "DELETE FROM buildrequest_claims WHERE brid = ? AND masterid = ?";
    Ok(tx.execute(delete, params![request, owner]).await? == 1)
}

/// Gives back open requests whose master is down and which nobody builds: Buildbot's housekeeping leaves them claimed
/// (`docs/compat/behaviour-2-builds.md` 2.9). A Python master may come back at any moment, so its row is looked at again with
/// each claim.
pub async fn unclaim_orphans(tx: &Tx) -> Result<Vec<RequestId>> {
    let query = "SELECT c.brid, c.masterid FROM buildrequest_claims c JOIN buildrequests r ON r.id = c.brid \
                 JOIN masters m ON m.id = c.masterid WHERE r.complete = 0 AND m.active = 0 \
                 AND NOT EXISTS (SELECT 1 FROM builds b WHERE b.buildrequestid = r.id AND b.results IS NULL) \
                 ORDER BY c.brid";
    let mut freed = Vec::new();
    for row in tx.query(query, params![]).await? {
        let (request, master) = (row.int(0)?, row.int(1)?);
        let down = "SELECT id FROM masters WHERE id = ? AND active = 0 FOR UPDATE";
        if tx.query_opt(down, params![master]).await?.is_some()
            && unclaim(tx, RequestId(request), MasterId(master)).await?
        {
            freed.push(RequestId(request));
        }
    }
    Ok(freed)
}

/// Makes another master the claimant of a request whose run it has taken over.
pub async fn move_claim(tx: &Tx, request: RequestId, master: MasterId) -> Result<()> {
    tx.later("UPDATE buildrequest_claims SET masterid = ? WHERE brid = ?", params![master, request]).await
}

/// Completes a request, never before it was submitted, whatever the clock says. `false`: it was complete already.
pub async fn complete_request(tx: &Tx, request: RequestId, results: Results, now: Timestamp) -> Result<bool> {
    let update = "UPDATE buildrequests SET complete = 1, results = ?, \
                  complete_at = CASE WHEN submitted_at > ? THEN submitted_at ELSE ? END \
                  WHERE id = ? AND complete <> 1";
    Ok(tx.execute(update, params![results, now, now, request]).await? == 1)
}

/// Completes requests that runs were for; answers which this call has completed.
///
/// Their rows are locked first, so that nobody else completes them meanwhile.
pub async fn complete_requests(
    tx: &Tx,
    outcomes: &[(RequestId, Results, Timestamp)],
) -> Result<Vec<RequestId>> {
    let lock = "SELECT id FROM buildrequests WHERE id IN (??) AND complete <> 1 ORDER BY id FOR UPDATE";
    let rows = tx.query_among(lock, outcomes.iter().map(|(request, ..)| (*request).into()).collect()).await?;
    let open = rows.iter().map(|row| row.int(0).map(RequestId)).collect::<Result<BTreeSet<_>>>()?;
    let mut alike: BTreeMap<(Timestamp, i64), Vec<Value>> = BTreeMap::new();
    for (request, results, at) in outcomes.iter().filter(|(request, ..)| open.contains(request)) {
        alike.entry((*at, results.code())).or_default().push((*request).into());
    }
    for ((at, results), requests) in alike {
        let update = "UPDATE buildrequests SET complete = 1, results = ?, \
                      complete_at = CASE WHEN submitted_at > ? THEN submitted_at ELSE ? END WHERE id IN (??)";
        tx.later_about(update, params![results, at, at], requests).await?;
    }
    Ok(open.into_iter().collect())
}

/// Completes a buildset when no request of it is open. Answers whether this call did it.
pub async fn complete_if_done(tx: &Tx, buildset: BuildsetId, now: Timestamp) -> Result<bool> {
    Ok(!complete_those_done(tx, &[buildset], now).await?.is_empty())
}

/// Completes those of the buildsets that have no open request; answers which this call has completed.
///
/// Their rows are locked first, in their order: of two masters that complete the last two requests of a set at the same
/// time, the second one sees what the first has done.
pub async fn complete_those_done(
    tx: &Tx,
    buildsets: &[BuildsetId],
    now: Timestamp,
) -> Result<Vec<BuildsetId>> {
    let list = || buildsets.iter().map(|id| (*id).into()).collect();
    tx.later_among("SELECT id FROM buildsets WHERE id IN (??) ORDER BY id FOR UPDATE", list()).await?;
    // Asked after the lock is there: before, a request may have been open that is not any more. A set may have none.
    let query = "SELECT s.id, COALESCE(r.complete, 1), r.results FROM buildsets s \
                 LEFT JOIN buildrequests r ON r.buildsetid = s.id WHERE s.id IN (??) AND s.complete <> 1";
    let mut outcomes: BTreeMap<i64, Option<Results>> = BTreeMap::new();
    for row in tx.query_among(query, list()).await? {
        let (complete, results) = (row.bool(1)?, row.results(2)?.unwrap_or(Results::Success));
        let worst = outcomes.entry(row.int(0)?).or_insert(Some(Results::Success));
        *worst = worst.filter(|_| complete).map(|worst| worst.worst(results));
    }
    let mut alike: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    let mut completed = Vec::new();
    for (id, worst) in outcomes {
        let Some(worst) = worst else { continue };
        alike.entry(worst.code()).or_default().push(id.into());
        completed.push(BuildsetId(id));
    }
    for (worst, sets) in alike {
        let update = "UPDATE buildsets SET complete = 1, \
                      complete_at = CASE WHEN submitted_at > ? THEN submitted_at ELSE ? END, results = ? \
                      WHERE id IN (??)";
        tx.later_about(update, params![now, now, worst], sets).await?;
    }
    Ok(completed)
}

/// Changes the priority of an open request. `None`: there is none.
pub async fn set_priority(db: &Db, request: RequestId, priority: i64) -> Result<Option<Committed<()>>> {
    let update = "UPDATE buildrequests SET priority = ? WHERE id = ? AND complete = 0";
    let effect = "SELECT id FROM buildrequests WHERE priority = ? AND id = ? FOR UPDATE";
    let values = params![priority, request];
    db.exactly(1, "set_priority", (update, values.clone()), (effect, values)).await
}

/// Pending requests of one builder that are older than `before`: candidates for being collapsed.
pub async fn pending_of_builder(
    tx: &Tx,
    builder: BuilderId,
    before: RequestId,
) -> Result<Vec<(RequestId, BuildsetId)>> {
    let query = "SELECT r.id, r.buildsetid FROM buildrequests r WHERE r.builderid = ? AND r.complete = 0 AND r.id < ? \
                 AND NOT EXISTS (SELECT 1 FROM buildrequest_claims c WHERE c.brid = r.id) ORDER BY r.id";
    let rows = tx.query(query, params![builder, before]).await?;
    rows.iter().map(|row| Ok((RequestId(row.int(0)?), BuildsetId(row.int(1)?)))).collect()
}

/// Debug builds look whether a request whose build began or ended in this transaction is neither lost nor run twice.
pub async fn audit(tx: &Tx, request: RequestId) -> Result<()> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let query = "SELECT r.complete, (SELECT count(*) FROM buildrequest_claims c WHERE c.brid = r.id), \
                 (SELECT count(*) FROM builds b WHERE b.buildrequestid = r.id AND b.results IS NULL), \
                 (SELECT count(*) FROM builds b WHERE b.buildrequestid = r.id AND b.results <> ?) \
                 FROM buildrequests r WHERE r.id = ?";
    let Some(row) = tx.query_opt(query, params![Results::Retry.code(), request]).await? else {
        return Ok(());
    };
    let count = |number: i64| usize::try_from(number).unwrap_or_default();
    let facts = RequestFacts {
        complete: row.bool(0)?,
        claimed: row.int(1)? > 0,
        running: count(row.int(2)?),
        final_builds: count(row.int(3)?),
    };
    debug_check(|| request_is_kept(facts));
    Ok(())
}
