//! Which event streams are open, and what each listens to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_core::Topic;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::paths::Paths;

/// The paths of the open streams by their id, so that other requests can add some.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<Uuid, Paths>>>);

impl Streams {
    /// Registers a stream, until what is returned is dropped.
    pub(crate) fn open(&self, paths: Paths, permit: OwnedSemaphorePermit) -> OpenStream {
        let id = Uuid::new_v4();
        self.all().insert(id, paths);
        OpenStream { id, streams: self.clone(), _permit: permit }
    }

    /// Changes the paths of the stream with this id. `None` when no such stream is open.
    pub(crate) fn with<T>(&self, id: &str, change: impl FnOnce(&mut Paths) -> T) -> Option<T> {
        let id = id.parse().ok()?;
        self.all().get_mut(&id).map(change)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, Paths>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream; closed when dropped.
pub(crate) struct OpenStream {
    id: Uuid,
    streams: Streams,
    _permit: OwnedSemaphorePermit,
}

impl OpenStream {
    /// Its name for other requests.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// How many of the paths that it listens to by now select this name.
    pub(crate) fn matching(&self, topic: &Topic) -> usize {
        self.streams.all().get(&self.id).map_or(0, |paths| paths.matching(topic))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.all().remove(&self.id);
    }
}
