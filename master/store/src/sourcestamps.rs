//! Sourcestamps: one row for each distinct version of the sources.

use muster_core::{
    SourceStamp, SourceStampId, Timestamp,
    hash::{HashPart, hash},
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Tx, names::found_next_time, params, query};

/// A version of the sources of one codebase, by its contents.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct NewSourceStamp {
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub repository: String,
    pub project: String,
    pub codebase: String,
    pub patch: Option<NewPatch>,
}

/// A patch on top of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct NewPatch {
    pub level: i64,
    /// The patch in standard base64, as the table keeps it.
    pub body_base64: String,
    pub author: String,
    pub comment: String,
    pub subdir: Option<String>,
}

/// The row of this version; makes it when absent. A patched version is always new.
pub async fn find_or_create(tx: &Tx, stamp: &NewSourceStamp, now: Timestamp) -> Result<SourceStamp> {
    let patch = match &stamp.patch {
        Some(patch) => Some(insert_patch(tx, patch).await?),
        None => None,
    };
    let ss_hash = hash(&[
        stamp.branch.as_deref().into(),
        stamp.revision.as_deref().into(),
        HashPart::Text(&stamp.repository),
        HashPart::Text(&stamp.project),
        HashPart::Text(&stamp.codebase),
        patch.map_or(HashPart::Null, HashPart::Int),
    ]);
    if let Some(found) = query::sourcestamps::by_hash(tx, &ss_hash).await? {
        return Ok(found);
    }
    let insert = "INSERT INTO sourcestamps (ss_hash, branch, revision, patchid, repository, codebase, project, created_at) \
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        ss_hash,
        stamp.branch.clone(),
        stamp.revision.clone(),
        patch,
        &stamp.repository,
        &stamp.codebase,
        &stamp.project,
        now
    ];
    let id = SourceStampId(found_next_time(tx, tx.insert(insert, values).await).await?);
    let made = query::sourcestamps::by_id(tx, id).await?;
    made.ok_or_else(|| Error::Data(format!("sourcestamp {id} was made and is not there")))
}

async fn insert_patch(tx: &Tx, patch: &NewPatch) -> Result<i64> {
    let insert = "INSERT INTO patches (patchlevel, patch_base64, patch_author, patch_comment, subdir) \
                  VALUES (?, ?, ?, ?, ?)";
    let values =
        params![patch.level, &patch.body_base64, &patch.author, &patch.comment, patch.subdir.clone()];
    tx.insert(insert, values).await
}
