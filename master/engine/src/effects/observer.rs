//! Who looks at the lines of a command.

use muster_session::command::Stream;
use serde_json::Value;

/// Looks at a command's lines while it runs. What it knows is a fold over them, and stored with the command, so that
/// another master goes on with it.
pub trait LineObserver: Send {
    /// A whole line, without its newline.
    fn line(&mut self, stream: &Stream, line: &str);
    /// All it knows.
    fn state(&self) -> Value;
    /// Goes on from such a state.
    fn restore(&mut self, state: Value);
    /// What it has learnt since it was last asked, restored or told; null when that is nothing. It is stored with each update
    /// of the command, so it should be no longer than what is new.
    fn news(&mut self) -> Value;
    /// Goes on from such news.
    fn add(&mut self, news: Value);
}
