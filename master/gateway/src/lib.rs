//! The gateway: holds the sockets of stock `buildbot-worker`s and speaks the session protocol for them.
//!
//! ```text
//! engine ══ session ══ Attendant ── Player ── Stock ─┬─ pb ── broker ── jelly ── banana ══ stock worker
//!                          │          │              └─ msgpack ════════════════════════ stock worker
//!                       (sockets)  (spool)
//! ```
//!
//! For every attached worker an attendant plays a worker of the session protocol: it dials the engine under the worker's
//! name, and keeps updates until they are confirmed. Everything between a socket's bytes and a session's orders is free
//! of I/O. Whether the engine lives in this process or elsewhere is the affair of [`Surroundings::engine`].
//!
//! What a stock worker must never see: an error in answer to its log-in, or to a file's block.

mod attendant;
pub mod banana;
pub mod broker;
mod door;
pub mod failure;
mod gateway;
mod ghosts;
pub mod jelly;
mod listen;
pub mod msgpack;
mod pb;
mod player;
mod registry;
mod roster;
mod spool;
mod stock;
mod translate;
pub mod value;
mod wire;

pub use gateway::{AddChange, Dial, Gateway, Surroundings};
pub use listen::{serve_msgpack, serve_pb};
pub use pb::SentChange;
pub use registry::{Arrival, Ghost, Registry, Reply, Standing, Wanted};
pub use roster::{ChangeAccount, Port, Roster, StockWorker};
pub use stock::BuilderDir;
