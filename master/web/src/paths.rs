//! What listeners listen to: paths, bounded for each listener and for all.

use std::sync::{Arc, LazyLock};

use muster_core::{Topic, TopicFilter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Paths that one listener may have; more are refused. A page of the stock UI asks for a dozen.
const MAX_PATHS: usize = 256;
/// Bytes of a path, and parts of it; a longer one is refused. No event's name has more than eight parts.
const MAX_PATH: usize = 256;
const MAX_PARTS: usize = 16;
/// Paths of all listeners together; more are refused. Each takes up to 1 kB, and each event is compared with all of them.
const MAX_IN_ALL: usize = 65_536;

static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_IN_ALL)));

/// The paths of one listener.
#[derive(Default)]
pub(crate) struct Paths(Vec<Listened>);

struct Listened {
    path: String,
    filter: TopicFilter,
    _room: OwnedSemaphorePermit,
}

impl Paths {
    /// One more; one that is there already is there once.
    pub(crate) fn add(&mut self, path: &str) -> Result<(), String> {
        if self.0.iter().any(|known| known.path == path) {
            return Ok(());
        }
        if path.len() > MAX_PATH || path.split('/').count() > MAX_PARTS {
            return Err(format!("a path has at most {MAX_PATH} bytes and {MAX_PARTS} parts"));
        }
        if self.0.len() == MAX_PATHS {
            return Err(format!("a connection listens to at most {MAX_PATHS} paths"));
        }
        let full = |_| format!("{MAX_IN_ALL} paths are listened to already; try again later");
        let room = ROOM.clone().try_acquire_owned().map_err(full)?;
        self.0.push(Listened { path: path.to_owned(), filter: TopicFilter::parse(path), _room: room });
        Ok(())
    }

    /// One less; `false` when it isn't there.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        let known = self.0.iter().position(|known| known.path == path);
        known.map(|index| self.0.remove(index)).is_some()
    }

    /// How many of them select this name.
    pub(crate) fn matching(&self, topic: &Topic) -> usize {
        self.0.iter().filter(|known| known.filter.matches(topic)).count()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_bounded() {
        let mut paths = Paths::default();
        assert!(paths.add(&"*/".repeat(MAX_PARTS)).is_err());
        assert!(paths.add(&"x".repeat(MAX_PATH + 1)).is_err());
        for number in 0..MAX_PATHS {
            paths.add(&format!("builds/{number}/*")).unwrap();
        }
        assert!(paths.add("builds/*/new").is_err());
        assert!(paths.add("builds/0/*").is_ok(), "it is there already");
        assert!(paths.remove("builds/0/*") && !paths.remove("builds/0/*"));
        assert_eq!(paths.matching(&Topic::parse("builds/1/new")), 1);
    }
}
