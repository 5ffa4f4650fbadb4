//! WAMP version 2: codec, client session and router as state machines without I/O, and their drivers over WebSocket.
//!
//! The router speaks as much of the protocol as Buildbot's masters need from Crossbar, and what small tools around
//! them use: publish and subscribe with patterns, basic remote calls, authentication, permissions. The floors, each of
//! which uses only those above it: [`uri`], [`message`] and [`counter`], [`codec`], [`auth`], [`client`] and [`router`], [`net`].

pub mod auth;
pub mod client;
pub mod codec;
pub mod counter;
pub mod keepalive;
pub mod message;
pub mod net;
pub mod router;
pub mod uri;

pub use codec::{Frame, Serialisation};
pub use message::{Id, Message, Payload};
pub use uri::Match;
