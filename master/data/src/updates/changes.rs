//! Changes arrive.

use muster_bus::Event;
use muster_core::policy::{Action, Permit};
use muster_core::{ChangeId, Property, Timestamp};
use muster_store::{
    Result, Tx,
    changes::{self, ChangeRow},
    json_text, query,
    sourcestamps::{self, NewSourceStamp},
    state::{self, StateKey},
};
use serde_json::{Map, Value};

use super::owned::fence;
use crate::{
    Data,
    limits::{fitting, refused, refused_sent},
    now, resources,
};

/// A change as a change source, a hook or a person tells about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewChange {
    /// Usually `Name <address>`.
    pub author: String,
    /// Who committed it, where that is somebody else.
    pub committer: Option<String>,
    /// Paths it touches.
    pub files: Vec<String>,
    /// The commit message.
    pub comments: String,
    /// The version it makes.
    pub revision: Option<String>,
    /// When it was made; `None` is now.
    pub when: Option<Timestamp>,
    /// `None` is the default branch.
    pub branch: Option<String>,
    /// Free text that filters look at.
    pub category: Option<String>,
    /// A page about it.
    pub revlink: Option<String>,
    /// Get the source `Change`.
    pub properties: Map<String, Value>,
    /// Where it lives.
    pub repository: String,
    /// Free text that filters look at.
    pub project: String,
    /// Which part of the sources it belongs to.
    pub codebase: String,
    /// The kind of version control (`git`, …) when a user is to be made of the author.
    pub src: Option<String>,
}

impl NewChange {
    /// Why it can't be stored, if it can't.
    pub fn refused(&self) -> Option<String> {
        refused(&self.stamp())
    }

    fn stamp(&self) -> NewSourceStamp {
        NewSourceStamp {
            branch: self.branch.clone(),
            revision: self.revision.clone(),
            repository: self.repository.clone(),
            project: self.project.clone(),
            codebase: self.codebase.clone(),
            patch: None,
        }
    }
}

impl Data {
    /// Why a change that somebody sends can't be stored, if it can't.
    pub fn refuses_change(&self, change: &NewChange) -> Option<String> {
        refused_sent(&change.stamp(), &change.properties, self.db().dialect())
    }

    /// Keeps a change. It is committed when this returns (rule 7).
    pub async fn add_change(&self, permit: &Permit, change: NewChange) -> Result<ChangeId> {
        permit.must_be_for(&Action::SendChange);
        let change = &change;
        let added = self.db().tx("add_change", |tx| async move { insert(&tx, change).await }).await?;
        let id = added.0;
        self.bus().publish(added.map(|(_, event)| vec![event]));
        Ok(id)
    }

    /// Keeps the changes of a poll together with the poller's new position: both or none.
    pub async fn add_polled_changes(
        &self,
        polled: Vec<NewChange>,
        key: &StateKey,
        position: &Value,
    ) -> Result<Vec<ChangeId>> {
        self.may_act()?;
        let (polled, owned) = (&polled, self.owned());
        let added = self.db().tx("add_polled_changes", |tx| async move {
            fence(&tx, owned).await?;
            let mut added = Vec::with_capacity(polled.len());
            for change in polled {
                added.push(insert(&tx, change).await?);
            }
            state::set(&tx, key, position).await?;
            Ok::<_, muster_store::Error>(added)
        });
        let added = added.await?;
        let ids = added.iter().map(|(id, _)| *id).collect();
        self.bus().publish(added.map(|added| added.into_iter().map(|(_, event)| event).collect()));
        Ok(ids)
    }

    /// A value that a service keeps over restarts.
    pub async fn get_state(&self, key: &StateKey) -> Result<Option<Value>> {
        self.db().read("get_state", |tx| async move { state::get(&tx, key).await }).await
    }

    /// The secret that signs the sessions of all masters of this database, Buildbot's among them; `new` where there is none yet.
    pub async fn session_secret(&self, new: &str) -> Result<String> {
        let text = |name: &str| name.to_owned();
        let key = &StateKey {
            object: text("www"),
            class: text("buildbot.www.service.WWWService"),
            key: text("session_secret"),
        };
        if let Some(Value::String(secret)) = self.get_state(key).await? {
            return Ok(secret);
        }
        let first = &Value::from(new);
        let set = self.db().tx("session_secret", |tx| async move { state::set_first(&tx, key, first).await });
        set.await?.into_inner();
        match self.get_state(key).await? {
            Some(Value::String(secret)) => Ok(secret),
            _ => Ok(new.to_owned()),
        }
    }

    /// Sets such a value.
    pub async fn set_state(&self, key: &StateKey, value: &Value) -> Result<()> {
        let owned = self.owned();
        let set = self.db().tx("set_state", |tx| async move {
            fence(&tx, owned).await?;
            state::set(&tx, key, value).await
        });
        set.await.map(|committed| committed.into_inner())
    }
}

async fn insert(tx: &Tx, change: &NewChange) -> Result<(ChangeId, Event)> {
    let now = now();
    let stamp = change.stamp();
    let stamp_id = sourcestamps::find_or_create(tx, &stamp, now).await?.id;
    let mut properties = Vec::with_capacity(change.properties.len());
    for (name, value) in &change.properties {
        properties.push((name.clone(), json_text(&Property(value.clone(), "Change".to_owned()))?));
    }
    let row = ChangeRow {
        author: change.author.clone(),
        committer: change.committer.clone(),
        comments: change.comments.clone(),
        revlink: change.revlink.clone(),
        when: change.when.unwrap_or(now).0,
        category: change.category.clone(),
        files: change.files.clone(),
        properties,
        src: change.src.clone(),
    };
    let id = changes::insert(tx, &fitting(row, tx.dialect()), &stamp, stamp_id).await?;
    let stored = query::changes::by_id(tx, id).await?;
    let payload = stored.map_or(Value::Null, |change| resources::change(&change));
    Ok((id, Event::new([format!("changes/{id}/new")], payload)))
}
