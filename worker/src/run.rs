//! The whole life of a worker.

use std::pin::pin;
use std::time::Duration;

use muster_session::wire::MAX_NAME;
use muster_session::{BootId, WorkerEvent, WorkerEvents, WorkerLink};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::PASSWORD_VARIABLE;
use crate::commands::Commands;
use crate::context::Surroundings;
use crate::home::WorkerHome;
use crate::link::{Dialer, SharedContact};
use crate::records::Records;
use crate::{WorkerError, WorkerOptions};

/// How long running programs may take to die when the worker ends.
const END_PATIENCE: Duration = Duration::from_secs(8);

/// How long the farewell to the master may take.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was told to, at once.
    Stopped,
    /// It asked for a graceful stop, and nothing is left to do.
    Graceful,
    /// The master asked for it.
    ByMaster,
}

/// How a worker is told to end.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    /// At once: running commands are killed.
    pub now: CancellationToken,
    /// When the master has no more work for it.
    pub gracefully: CancellationToken,
}

/// Runs a worker until SIGTERM or SIGINT (at once) or SIGHUP (gracefully), or until its master ends it.
///
/// # Errors
/// As [`run`].
pub async fn run_until_signal(options: WorkerOptions) -> Result<Exit, WorkerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(WorkerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(WorkerError::Signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(WorkerError::Signals)?;
    let stops = Stops::default();
    let mut running = pin!(run(options, stops.clone()));
    loop {
        tokio::select! {
            result = &mut running => return result,
            _ = terminate.recv() => stops.now.cancel(),
            _ = interrupt.recv() => stops.now.cancel(),
            _ = hang_up.recv() => stops.gracefully.cancel(),
        }
    }
}

/// Runs a worker until it is stopped, or until its master ends it. A master that is away or refuses is tried again,
/// for ever.
///
/// # Errors
/// When the directory can't be used or belongs to a running worker, or the options make no sense.
pub async fn run(options: WorkerOptions, stops: Stops) -> Result<Exit, WorkerError> {
    if options.masters.is_empty() {
        return Err(WorkerError::NoMaster);
    }
    if options.name.is_empty() || options.name.chars().count() > MAX_NAME {
        return Err(WorkerError::Name { name: options.name, max: MAX_NAME });
    }
    let home = WorkerHome::open(&options.dir)?;
    let records = open_records(&home).await?;
    let boot_id = BootId::fresh();
    let around = Surroundings {
        base: home.dir().to_owned(),
        environment: std::env::vars_os().filter(|(name, _)| name != PASSWORD_VARIABLE).collect(),
        launcher: options.launcher.clone(),
        limits: options.limits.clone(),
    };
    let identity = muster_session::Identity {
        worker: options.name.clone(),
        password: options.password.clone(),
        boot_id: boot_id.clone(),
        generation: home.generation()?,
    };
    let (link, mut events) = WorkerLink::new(identity);
    let commands = Commands::new(records, around, boot_id);
    let contact = SharedContact::default();
    let closing = CancellationToken::new();
    let dialer = Dialer {
        link: &link,
        commands: &commands,
        home: &home,
        contact: contact.clone(),
        masters: options.masters,
        closing: closing.clone(),
    };
    let mut dialing = pin!(dialer.run());
    let mut life = Life {
        name: &options.name,
        home: &home,
        link: &link,
        commands: &commands,
        contact,
        running: JoinSet::new(),
    };
    let result = tokio::select! {
        exit = life.live(&mut events, &stops) => exit,
        failed = &mut dialing => failed.map(|()| Exit::Stopped),
    };
    closing.cancel();
    commands.abandon_all();
    link.close("the worker stops");
    // A dialer that has failed must not be polled again; only that one can have come first.
    if result.is_ok() && timeout(FAREWELL_PATIENCE, dialing).await.is_err() {
        tracing::debug!("the farewell took too long");
    }
    life.end_commands().await;
    result
}

async fn open_records(home: &WorkerHome) -> Result<Records, WorkerError> {
    let unusable = |error| WorkerError::Directory { dir: home.dir().to_owned(), error };
    let records = Records::open(home.dir()).map_err(unusable)?;
    for orphan in records.end_orphans().await.map_err(unusable)? {
        tracing::warn!("ended what an earlier life of this worker left behind: {orphan}");
    }
    Ok(records)
}

/// What happens between start and end.
struct Life<'a> {
    name: &'a str,
    home: &'a WorkerHome,
    link: &'a WorkerLink,
    commands: &'a Commands,
    contact: SharedContact,
    running: JoinSet<()>,
}

impl Life<'_> {
    async fn live(&mut self, events: &mut WorkerEvents, stops: &Stops) -> Result<Exit, WorkerError> {
        let mut leaving = false;
        loop {
            if leaving && self.commands.is_empty() && !self.link.is_connected() {
                return Ok(Exit::Graceful);
            }
            tokio::select! {
                () = stops.now.cancelled() => return Ok(Exit::Stopped),
                () = stops.gracefully.cancelled(), if !leaving => {
                    leaving = true;
                    tracing::info!("asking the master for a graceful stop");
                    self.link.request_shutdown();
                }
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => report(ended),
                event = events.next() => match event {
                    None => return Ok(Exit::Stopped),
                    Some(WorkerEvent::Shutdown) => {
                        tracing::info!("the master asked this worker to stop");
                        return Ok(if leaving { Exit::Graceful } else { Exit::ByMaster });
                    }
                    Some(event) => self.handle(event, leaving)?,
                },
            }
        }
    }

    fn handle(&mut self, event: WorkerEvent, leaving: bool) -> Result<(), WorkerError> {
        match event {
            WorkerEvent::Connected { terms } => {
                self.home.keep_generation(terms.generation)?;
                self.contact.accepted(self.name, &terms);
                self.commands.set(terms.settings);
                if leaving {
                    // A master forgets the wish with the connection.
                    self.link.request_shutdown();
                }
            }
            WorkerEvent::Settings(settings) => self.commands.set(settings),
            WorkerEvent::Order { command, number, order, epoch: _ } => {
                self.commands.order(command, number, order, self.link, &mut self.running);
            }
            WorkerEvent::Stored { command, number, over } => self.commands.stored(command, number, over),
            WorkerEvent::Forget { command } => self.commands.forget(command),
            // The dialer tells the operator; the end of the worker is handled where it is waited for.
            WorkerEvent::Disconnected { .. } | WorkerEvent::Shutdown => {}
        }
        Ok(())
    }

    /// Waits for the tasks of commands that were told to end.
    async fn end_commands(mut self) {
        let all_ended = async {
            while let Some(ended) = self.running.join_next().await {
                report(ended);
            }
        };
        if timeout(END_PATIENCE, all_ended).await.is_err() {
            tracing::warn!("some processes do not die; the next start of this worker will try again");
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a command's task broke: {error}");
    }
}
