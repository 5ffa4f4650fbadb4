//! `msgpack_experimental_v7`: one msgpack map in each binary message of a WebSocket
//! (`docs/compat/worker-protocol.md`, section 2).

mod codec;
mod handshake;
mod held;
mod paths;
mod worker;

pub use codec::{CodecError, decode, encode};
pub(crate) use handshake::{HandshakeError, handshake};
pub(crate) use worker::MsgpackWorker;

/// Bytes of one message. Workers send output in pieces of 64 KiB and files in blocks; lists of files are the longest.
pub(crate) const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;
