//! What a worker told about itself, kept for as long as it is connected.

use crate::wire::WorkerInfo;

/// A [`WorkerInfo`] as text: in memory it would be several times as large, and it is looked at with a build, or a dial.
#[derive(Clone, Debug, Default)]
pub struct PackedInfo(Box<[u8]>);

impl PackedInfo {
    /// Packs it.
    pub fn new(info: &WorkerInfo) -> PackedInfo {
        let text = serde_json::to_vec(info).expect("the keys of a map of JSON are text");
        PackedInfo(text.into())
    }

    /// Unpacks it; nothing is in one that nothing was packed into.
    pub fn unpack(&self) -> WorkerInfo {
        if self.0.is_empty() {
            return WorkerInfo::default();
        }
        serde_json::from_slice(&self.0).expect("it was written by this type")
    }
}
