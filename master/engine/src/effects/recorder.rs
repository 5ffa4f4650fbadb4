//! What a run has done and not yet written: gathered here, then handed to the [writer](super::writer) of this master.
//!
//! Writes are behind the work that makes them. They must be durable before the next effect that the world can see, so
//! whoever is about to cause one calls [`Recorder::flush`] first. What a worker sent is acknowledged after the commit
//! that stored what came with it, never before.

use std::borrow::Cow;

use muster_core::{CommandId, RequestId};
use muster_data::{RunWrite, shortened};
use muster_store::{chunks::Compression, runs::RunKey};
use tokio_util::sync::CancellationToken;

use super::{
    end::Halt,
    gathered::Gathered,
    logs::{LogRef, marked},
    secrets::Secrets,
    writer::{Account, Waiter, Writer},
};
use crate::sessions::Slot;

/// Gathers the writes of one run.
pub(crate) struct Recorder {
    account: Account,
    leaving: CancellationToken,
    /// What is not handed over yet.
    gathered: Gathered,
    secrets: Secrets,
}

impl Recorder {
    pub(crate) fn new(
        writer: &Writer,
        key: RunKey,
        request: RequestId,
        compression: Compression,
        leaving: CancellationToken,
    ) -> Recorder {
        Recorder {
            account: writer.open(key, request, compression),
            leaving,
            gathered: Gathered::default(),
            secrets: Secrets::default(),
        }
    }

    /// Adds a write. A journal row replaces an older state of itself that is not committed yet.
    pub(crate) fn write(&mut self, mut write: RunWrite) {
        if let RunWrite::BuildState(state)
        | RunWrite::StepState { state, .. }
        | RunWrite::StepFinished { state, .. }
        | RunWrite::BuildFinished { state, .. } = &mut write
        {
            self.secrets.conceal(state);
            *state = shortened(std::mem::take(state));
        }
        match &mut write {
            RunWrite::StepStarted { name, .. } | RunWrite::LogAdded { name, .. } => {
                self.secrets.conceal(name)
            }
            RunWrite::StepUrl { url, .. } => {
                self.secrets.conceal(&mut url.name);
                self.secrets.conceal(&mut url.url);
            }
            RunWrite::Property { name, property } => {
                self.secrets.conceal(name);
                self.secrets.conceal_value(&mut property.0);
            }
            _ => {}
        }
        self.gathered.write(write);
    }

    /// Adds lines to a log, with this marker in one of stdio. A last line without a newline gets one.
    pub(crate) fn append(&mut self, step: u32, log: &LogRef, marker: char, text: &str) {
        // Before the markers, which would stand between the lines of a secret.
        let concealed = self.secrets.concealed(text);
        self.gathered.append(step, &log.slug, &marked(log.kind, marker, &concealed));
    }

    /// The secrets that the run has used.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// From now on `<name>` stands for this value in everything that is written.
    pub(crate) fn conceal(&mut self, value: &str, name: &str) {
        self.secrets.add(value, name);
    }

    /// Text as people may see it.
    pub(crate) fn concealed<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.secrets.concealed(text)
    }

    /// Acknowledges a worker's update with the next commit.
    pub(crate) fn acknowledge(&mut self, slot: &Slot, command: CommandId, number: u64) {
        self.gathered.acknowledge(slot, command, number);
    }

    /// Hands over what is gathered: it is committed soon, together with what other runs have. Must be called between
    /// two updates of a worker only, because what was handed over is committed as it is.
    pub(crate) fn post(&mut self) {
        self.account.post(std::mem::take(&mut self.gathered));
    }

    /// What a run waits for its writes with.
    pub(crate) fn waiter(&self) -> Waiter {
        self.account.waiter()
    }

    /// Commits everything gathered, at once. A database that refuses is asked again until it accepts, or until this
    /// master goes: what workers sent stays with them meanwhile.
    pub(crate) async fn flush(&mut self) -> Result<(), Halt> {
        self.flushing().await
    }

    /// The same; what comes later may be gathered meanwhile.
    pub(crate) fn flushing(&mut self) -> impl Future<Output = Result<(), Halt>> + Send + use<> {
        self.post();
        let (leaving, mut waiter) = (self.leaving.clone(), self.account.waiter());
        async move {
            tokio::select! {
                biased;
                durable = waiter.durable() => durable,
                () = leaving.cancelled() => waiter.durable_if_accepted().await,
            }
        }
    }
}
