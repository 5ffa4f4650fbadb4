//! Frames: what stands in one binary message of the protocol, as msgpack with named fields.
//!
//! Evolution: a field that a later version adds has `#[serde(default)]`, unknown fields are skipped, and a new kind of
//! frame needs a new number in [`VERSIONS`].

use std::collections::BTreeMap;
use std::time::Duration;

use muster_core::{CommandId, Epoch};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::auth::{Nonce, Proof, Transcript};
use crate::command::{StartCommand, UpdateBody};

/// Protocol versions this build speaks, newest first.
pub const VERSIONS: &[u32] = &[1];

/// Those that this process speaks; the newest one that both sides speak is used.
pub(crate) fn versions() -> &'static [u32] {
    if muster_core::skew::is_newer() { &[2, 1] } else { VERSIONS }
}

/// Bytes in one frame; a longer one ends the connection. One mebibyte holds any block or batch that is worth
/// committing at once, and bounds what a stranger can make us buffer.
pub const MAX_FRAME: usize = 1 << 20;

/// Bytes of file data in one [`Order::Chunk`] or [`UpdateBody::Chunk`]; half a frame leaves room for the rest of it.
pub const MAX_BLOCK: usize = MAX_FRAME / 2;

/// Encoded bytes of one command that may be on their way without acknowledgement, in each direction. When it is full
/// the sender waits: a worker's updates stay in its spool, a master's chunks stay unread in their file. Two mebibytes are
/// what a link and a database of some milliseconds each need for 100 MB/s.
pub const WINDOW: usize = 2 << 20;

/// Characters of a worker's name; the length of the column that stores it.
pub const MAX_NAME: usize = 50;

/// Commands that one worker holds at most; their list has to fit the opening. One more ends the connection.
pub const MAX_COMMANDS: usize = 4096;

/// The key of [`WorkerInfo`] under which a gateway names the life of its process. Whatever the worker runs ends with it.
pub const GATEWAY: &str = "gateway";

/// Deepest nesting that is decoded; real frames need about eight.
const MAX_DEPTH: usize = 32;

/// Names one life of a worker's process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl BootId {
    /// A new one.
    pub fn fresh() -> BootId {
        BootId(uuid::Uuid::new_v4().to_string())
    }
}

impl std::fmt::Display for BootId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a worker tells about itself: `admin`, `host`, `version`, `system`, `basedir`, `numcpus`, `os_…`.
pub type WorkerInfo = BTreeMap<String, Value>;

/// Frames that a worker sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// The first frame.
    Hello(Hello),
    /// The answer to [`FromMaster::Challenge`].
    Claim(Claim),
    /// News about a command.
    Update {
        /// Which command.
        command: CommandId,
        /// From 1, without gaps.
        number: u64,
        /// The news.
        body: UpdateBody,
    },
    /// All orders of `command` up to `number` are carried out, or durably recorded.
    AckOrders {
        /// Which command.
        command: CommandId,
        /// The highest one.
        number: u64,
    },
    /// "I am alive", sent when nothing else was for a while.
    Heartbeat,
    /// The worker's operator asks for a graceful stop: no new builds, then [`FromMaster::Shutdown`].
    RequestShutdown,
    /// The connection ends, with the reason.
    Goodbye {
        /// In words.
        reason: String,
        /// Not only the connection ends, but this life of the worker: its commands are gone for good.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over: bool,
    },
}

/// Frames that a master sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromMaster {
    /// Asks the worker to prove its password.
    Challenge {
        /// The version that both speak from now on.
        version: u32,
        /// Random.
        nonce: Nonce,
    },
    /// The worker is accepted.
    Welcome(Welcome),
    /// The worker is not accepted; the connection ends.
    Refused(Refusal),
    /// An order for a command; the first one is always [`Order::Start`].
    Order {
        /// Which command.
        command: CommandId,
        /// Of the run that gives it; lower than an earlier one of the same command: refused.
        epoch: Epoch,
        /// From 1, without gaps.
        number: u64,
        /// The order.
        order: Order,
    },
    /// The master goes on with a command that the worker holds: send every update after `updates`.
    Resume {
        /// Which command.
        command: CommandId,
        /// Of the run that goes on.
        epoch: Epoch,
        /// The last update that is stored.
        updates: u64,
    },
    /// All updates of `command` up to `number` are stored.
    AckUpdates {
        /// Which command.
        command: CommandId,
        /// The highest one.
        number: u64,
    },
    /// Nobody wants this command: end it, drop what it has to say.
    Forget {
        /// Which command.
        command: CommandId,
    },
    /// "I am alive", sent when nothing else was for a while.
    Heartbeat,
    /// New settings, from now on.
    Settings(Settings),
    /// The worker's process is asked to end.
    Shutdown,
    /// The connection ends, with the reason.
    Goodbye {
        /// In words.
        reason: String,
        /// Where the worker is to go instead (`ws://host:port`), at once: this master goes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        elsewhere: Vec<String>,
    },
}

/// Who dials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What the worker speaks.
    pub versions: Vec<u32>,
    /// The worker's name.
    pub worker: String,
    /// This life of its process.
    pub boot_id: BootId,
    /// Grows with every dial of this worker, over all its lives.
    pub dial_no: u64,
    /// Random.
    pub nonce: Nonce,
}

impl Hello {
    /// What both sides prove, once the master has chosen a version and answered with its own nonce.
    pub(crate) fn transcript(&self, version: u32, nonce: Nonce) -> Transcript<'_> {
        Transcript {
            worker: &self.worker,
            boot_id: &self.boot_id.0,
            dial_no: self.dial_no,
            version,
            nonces: [self.nonce, nonce],
        }
    }
}

/// The worker's proof, and what it brings along.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// That it knows the password.
    pub proof: Proof,
    /// About itself. No environment in here: the master has not proven anything yet.
    pub info: WorkerInfo,
    /// Every command it holds, running or ended.
    pub commands: Vec<CommandState>,
}

/// A command that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandState {
    /// Its id.
    pub command: CommandId,
    /// The highest epoch it got an order under.
    pub epoch: Epoch,
    /// The last order it received, at least 1.
    pub orders: u64,
    /// The last update that exists.
    pub updates: u64,
    /// The last update that some master acknowledged.
    pub acknowledged: u64,
    /// Whether `updates` is the number of its [`UpdateBody::Complete`].
    pub ended: bool,
}

/// The opening is over and the session goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// That the master knows the password too.
    pub proof: Proof,
    /// What the engine has to say.
    pub terms: Terms,
}

/// What an engine tells a worker that it accepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Of the cluster; a worker refuses a master whose generation is lower than one it has seen.
    pub generation: u64,
    /// Of `muster_sessions`.
    pub epoch: Epoch,
    /// How often each side says something, at least. Milliseconds.
    pub heartbeat_ms: u64,
    /// How output is gathered.
    pub settings: Settings,
    /// Where other engines listen (`ws://host:port`), for the next dial.
    #[serde(default)]
    pub peers: Vec<String>,
}

impl Terms {
    /// The defaults, for one generation and epoch.
    pub fn new(generation: u64, epoch: Epoch) -> Terms {
        Terms {
            generation,
            epoch,
            heartbeat_ms: crate::liveness::HEARTBEAT.as_millis() as u64,
            settings: Settings::default(),
            peers: Vec::new(),
        }
    }

    /// How often each side says something.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }
}

/// How a worker gathers output before it becomes an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Bytes of text after which it is sent.
    pub buffer_size: usize,
    /// Milliseconds after which text is sent, with the unfinished last line.
    pub buffer_ms: u64,
    /// Characters after which a line is cut in two.
    pub max_line_length: usize,
}

impl Default for Settings {
    /// Buildbot's sizes. Buildbot waits 5 s; a page that is read live wants its lines sooner.
    fn default() -> Settings {
        Settings { buffer_size: 64 * 1024, buffer_ms: 200, max_line_length: 4096 }
    }
}

/// The highest dial number that is taken: far beyond what any worker reaches, and far from where numbers end.
pub const MAX_DIAL: u64 = 1 << 62;
/// How far the number of a dial may be ahead of the master's clock, in seconds since 1970: ten years, for clocks that are wrong.
/// Whoever is further ahead is mistaken, and would keep out every later dial.
pub const MAX_AHEAD: u64 = 10 * 366 * 24 * 3600;

/// Why a worker is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The kind, for the worker's program.
    pub code: RefusalCode,
    /// In words, for its operator.
    pub reason: String,
    /// When it may dial again, in milliseconds; `None`: as its own back-off says.
    pub retry_after_ms: Option<u64>,
    /// With [`RefusalCode::StaleDial`]: the number that the worker's next dial has to surpass. It counts on from there when
    /// its own count was lost, and its clock is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_dial: Option<u64>,
}

impl Refusal {
    /// One without further advice.
    pub fn new(code: RefusalCode, reason: impl Into<String>) -> Refusal {
        Refusal { code, reason: reason.into(), retry_after_ms: None, highest_dial: None }
    }
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The name is unknown or the password is wrong; a stranger is not told which.
    Credentials,
    /// No version in common.
    Version,
    /// A later dial of the same worker was already answered.
    StaleDial,
    /// Not here, not now: draining, fenced, the database is away.
    Unavailable,
    /// What was sent is not an opening.
    Malformed,
}

/// What a master tells a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Begin.
    Start(Box<StartCommand>),
    /// End early; updates and the end still follow.
    Interrupt {
        /// For the header line.
        why: String,
    },
    /// The next bytes of a download.
    Chunk {
        /// At most [`MAX_BLOCK`].
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// Nothing follows.
        eof: bool,
    },
}

/// Why bytes are not a frame, or a value can't be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is over the limit of {MAX_FRAME}")]
    TooLong(usize),
    /// Not msgpack, or not a frame that this version knows.
    #[error("not a frame of this protocol: {0}")]
    Malformed(String),
    /// Bytes follow the frame.
    #[error("{0} bytes follow the frame")]
    Trailing(usize),
}

/// The bytes of one frame.
///
/// # Errors
/// When it would be longer than [`MAX_FRAME`].
pub fn encode<T: Serialize>(frame: &T) -> Result<Vec<u8>, FrameError> {
    let bytes = rmp_serde::to_vec_named(frame).map_err(|error| FrameError::Malformed(error.to_string()))?;
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

/// The frame in `bytes`.
///
/// # Errors
/// When it is too long, garbage, of an unknown kind, or followed by more bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::TooLong(bytes.len()));
    }
    let mut reader = rmp_serde::Deserializer::new(std::io::Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    let frame = T::deserialize(&mut reader).map_err(|error| FrameError::Malformed(error.to_string()))?;
    match reader.position() as usize {
        end if end == bytes.len() => Ok(frame),
        end => Err(FrameError::Trailing(bytes.len() - end)),
    }
}
