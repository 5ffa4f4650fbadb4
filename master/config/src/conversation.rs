//! Conversations about steps that run in the host (`python/muster_host/live/PROTOCOL.md`).
//!
//! A [`Conversation`] belongs to one process: when that ends, or is given up, the conversation ends with
//! [`StepNews::Gone`], and whoever drives the step begins another one.

use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

/// The numbers of conversations begin here; those of questions stay below.
pub(crate) const FIRST_CONVERSATION: u64 = 1 << 40;

/// What the host hears about a step.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOrder {
    /// Run it.
    Begin(Value),
    /// What came of an effect.
    Outcome(Value),
    /// Whole lines of a command.
    Lines(Value),
    /// Somebody stops its build.
    Interrupt {
        /// Why.
        reason: String,
    },
    /// Nobody wants it any more.
    Drop {},
}

/// What the host says about a step.
#[derive(Debug)]
pub enum StepNews {
    /// It wants an effect.
    Perform {
        /// Its number in the conversation.
        seq: u64,
        /// What it wants.
        effect: Value,
    },
    /// So many bytes of lines were read.
    Read(u64),
    /// It is over.
    End(Value),
    /// The host has no such step.
    Refused(String),
    /// The process is gone; the reason.
    Gone(String),
}

/// The way to the host of one step that runs. Dropping it gives the step up.
#[derive(Debug)]
pub struct Conversation {
    pub(crate) number: u64,
    pub(crate) orders: mpsc::UnboundedSender<TalkOrder>,
    pub(crate) news: mpsc::UnboundedReceiver<StepNews>,
}

/// What conversations want of the driver. Unbounded: outcomes answer what was asked, lines have a credit, and the rest comes once.
#[derive(Debug)]
pub(crate) enum TalkOrder {
    Begin { number: u64, wanted: Value, news: mpsc::UnboundedSender<StepNews> },
    Tell { number: u64, order: StepOrder },
}

/// Tells the host something about one step.
#[derive(Clone, Debug)]
pub struct Teller {
    number: u64,
    orders: mpsc::UnboundedSender<TalkOrder>,
}

impl Teller {
    /// What comes after the end is told to nobody.
    pub fn tell(&self, order: StepOrder) {
        drop(self.orders.send(TalkOrder::Tell { number: self.number, order }));
    }
}

impl Conversation {
    /// The way to tell the host something.
    pub fn teller(&self) -> Teller {
        Teller { number: self.number, orders: self.orders.clone() }
    }

    /// What the host says next. Safe to cancel.
    pub async fn next(&mut self) -> StepNews {
        let stopped = || StepNews::Gone("the Python host is stopped".to_owned());
        self.news.recv().await.unwrap_or_else(stopped)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.teller().tell(StepOrder::Drop {});
    }
}
