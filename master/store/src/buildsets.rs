//! Buildsets and build requests.

use muster_core::{
    BuildId, BuilderId, BuildsetId, Claim, MasterId, Properties, RequestId, Results, SourceStampId, Timestamp,
};

use crate::{Result, Tx, Value, executor::expand_list, json_text, params};

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
    for (name, property) in properties.iter() {
        let insert = "INSERT INTO buildset_properties (buildsetid, property_name, property_value) VALUES (?, ?, ?)";
        tx.execute(insert, params![id, name, json_text(property)?]).await?;
    }
    for source in sources {
        let insert = "INSERT INTO buildset_sourcestamps (buildsetid, sourcestampid) VALUES (?, ?)";
        tx.execute(insert, params![id, *source]).await?;
    }
    Ok(BuildsetId(id))
}

/// Inserts one request of a buildset.
pub async fn insert_request(
    tx: &Tx,
    buildset: BuildsetId,
    builder: BuilderId,
    priority: i64,
    waited_for: bool,
    now: Timestamp,
) -> Result<RequestId> {
    let insert = "INSERT INTO buildrequests (buildsetid, builderid, priority, complete, results, submitted_at, waited_for) \
                  VALUES (?, ?, ?, 0, -1, ?, ?)";
    tx.insert(insert, params![buildset, builder, priority, now, waited_for]).await.map(RequestId)
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
pub async fn pending(tx: &Tx, builders: &[BuilderId], limit: i64) -> Result<Vec<Pending>> {
    let query = "SELECT r.id, r.buildsetid, r.builderid, r.priority, r.submitted_at, r.waited_for FROM buildrequests r \
                 WHERE r.complete = 0 AND r.builderid IN (??) \
                 AND NOT EXISTS (SELECT 1 FROM buildrequest_claims c WHERE c.brid = r.id) \
                 ORDER BY r.priority DESC, r.submitted_at, r.id LIMIT ?";
    let mut values: Vec<Value> = builders.iter().map(|builder| (*builder).into()).collect();
    values.push(limit.into());
    let rows = tx.query(&expand_list(query, builders.len()), values).await?;
    rows.iter()
        .map(|row| {
            Ok(Pending {
                id: RequestId(row.int(0)?),
                buildset: BuildsetId(row.int(1)?),
                builder: BuilderId(row.int(2)?),
                priority: row.int(3)?,
                submitted_at: row.time(4)?,
                waited_for: row.bool(5)?,
            })
        })
        .collect()
}

/// Takes a request. `false`: somebody else has it, or it is done. The unique key on the claim is the judge.
pub async fn claim(tx: &Tx, request: RequestId, claim: Claim) -> Result<bool> {
    let insert = "INSERT INTO buildrequest_claims (brid, masterid, claimed_at) \
                  SELECT id, ?, ? FROM buildrequests WHERE id = ? AND complete = 0 ON CONFLICT DO NOTHING";
    Ok(tx.execute(insert, params![claim.master, claim.at, request]).await? == 1)
}

/// Gives a request back: it is pending again. `owner` is who has the claim, not who calls.
pub async fn unclaim(tx: &Tx, request: RequestId, owner: MasterId) -> Result<bool> {
    let delete = "DELETE FROM buildrequest_claims WHERE brid = ? AND masterid = ?";
    Ok(tx.execute(delete, params![request, owner]).await? == 1)
}

/// Makes another master the claimant of a request whose run it has taken over.
pub async fn move_claim(tx: &Tx, request: RequestId, master: MasterId) -> Result<()> {
    tx.execute("UPDATE buildrequest_claims SET masterid = ? WHERE brid = ?", params![master, request]).await?;
    Ok(())
}

/// Completes a request. `false`: it was complete already.
pub async fn complete_request(tx: &Tx, request: RequestId, results: Results, now: Timestamp) -> Result<bool> {
    let update =
        "UPDATE buildrequests SET complete = 1, results = ?, complete_at = ? WHERE id = ? AND complete <> 1";
    Ok(tx.execute(update, params![results, now, request]).await? == 1)
}

/// Completes a buildset when no request of it is open. Answers whether this call did it.
pub async fn complete_if_done(tx: &Tx, buildset: BuildsetId, now: Timestamp) -> Result<bool> {
    let rows =
        tx.query("SELECT complete, results FROM buildrequests WHERE buildsetid = ?", params![buildset]).await?;
    let mut worst = Results::Success;
    for row in &rows {
        if !row.bool(0)? {
            return Ok(false);
        }
        worst = worst.worst(row.results(1)?.unwrap_or(Results::Success));
    }
    let update =
        "UPDATE buildsets SET complete = 1, complete_at = ?, results = ? WHERE id = ? AND complete <> 1";
    Ok(tx.execute(update, params![now, worst, buildset]).await? == 1)
}

/// Changes the priority of an open request. `false`: there is none.
pub async fn set_priority(tx: &Tx, request: RequestId, priority: i64) -> Result<bool> {
    let update = "UPDATE buildrequests SET priority = ? WHERE id = ? AND complete = 0";
    Ok(tx.execute(update, params![priority, request]).await? == 1)
}

/// Pending requests of one builder that are older than `before`: candidates for being collapsed.
pub async fn pending_of_builder(tx: &Tx, builder: BuilderId, before: RequestId) -> Result<Vec<(RequestId, BuildsetId)>> {
    let query = "SELECT r.id, r.buildsetid FROM buildrequests r WHERE r.builderid = ? AND r.complete = 0 AND r.id < ? \
                 AND NOT EXISTS (SELECT 1 FROM buildrequest_claims c WHERE c.brid = r.id) ORDER BY r.id";
    let rows = tx.query(query, params![builder, before]).await?;
    rows.iter().map(|row| Ok((RequestId(row.int(0)?), BuildsetId(row.int(1)?)))).collect()
}
