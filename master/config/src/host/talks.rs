//! The conversations about steps, and the processes that still have some although another configuration is in force: a step
//! goes on with the code that it began with.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use serde_json::Value;
use tokio::sync::mpsc;

use super::{AnswerBody, Event, Message, Process, Request, RequestBody};
use crate::conversation::{StepNews, StepOrder};
use crate::wire::Answer;

/// How many processes of earlier configurations are kept for their steps. The oldest is ended when another one comes; its
/// steps begin anew in the present one, if that has the same code.
const MAX_FORMER: usize = 4;

/// How many steps of one process may hang after they were given up. At that number the process gets no new ones.
const MAX_HUNG: usize = 16;

/// One conversation.
#[derive(Debug)]
struct Talk {
    /// Which process it is with; the present one has the newest number.
    generation: u64,
    news: mpsc::UnboundedSender<StepNews>,
}

/// A conversation that waits for a process.
#[derive(Debug)]
struct Waiting {
    number: u64,
    wanted: Value,
    news: mpsc::UnboundedSender<StepNews>,
}

/// A process of before.
#[derive(Debug)]
struct Former {
    generation: u64,
    process: Process,
}

/// All conversations of a host.
#[derive(Debug, Default)]
pub(super) struct Talks {
    generation: u64,
    open: HashMap<u64, Talk>,
    waiting: VecDeque<Waiting>,
    former: Vec<Former>,
    /// Steps that were given up and have not ended, by their numbers, with their process.
    hung: HashMap<u64, u64>,
}

impl Talks {
    /// Notes a conversation that wants to begin.
    pub(super) fn begin(&mut self, number: u64, wanted: Value, news: mpsc::UnboundedSender<StepNews>) {
        self.waiting.push_back(Waiting { number, wanted, news });
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Begins what waits.
    pub(super) fn begin_on(&mut self, process: &Process) {
        for Waiting { number, wanted, news } in self.waiting.drain(..) {
            send(process, number, &StepOrder::Begin(wanted));
            self.open.insert(number, Talk { generation: self.generation, news });
        }
    }

    /// Nothing can begin.
    pub(super) fn fail_waiting(&mut self, reason: &str) {
        for Waiting { news, .. } in self.waiting.drain(..) {
            drop(news.send(StepNews::Gone(reason.to_owned())));
        }
    }

    /// Tells the process of a conversation something.
    pub(super) fn tell(&mut self, number: u64, order: StepOrder, present: Option<&Process>) {
        if matches!(order, StepOrder::Drop {}) {
            self.waiting.retain(|waiting| waiting.number != number);
        }
        let Some(talk) = self.open.get(&number) else { return };
        let generation = talk.generation;
        let process = if generation == self.generation {
            present
        } else {
            self.former.iter().find(|former| former.generation == generation).map(|former| &former.process)
        };
        if let Some(process) = process {
            send(process, number, &order);
        }
        if matches!(order, StepOrder::Drop {}) {
            self.open.remove(&number);
            self.hung.insert(number, generation);
            self.end_unused();
        }
    }

    /// Something was said in a conversation.
    pub(super) fn heard(&mut self, number: u64, body: AnswerBody) {
        self.hung.remove(&number);
        let is_last = !matches!(body, AnswerBody::Step(StepNews::Perform { .. } | StepNews::Read(_)));
        if let Some(talk) = self.open.get(&number) {
            let news = match body {
                AnswerBody::Step(news) => news,
                AnswerBody::Refused(reason) => StepNews::Refused(reason),
                _ => StepNews::Gone("the step ended without a word".to_owned()),
            };
            // Who doesn't listen any more has dropped it, and says so.
            drop(talk.news.send(news));
        }
        if is_last {
            self.open.remove(&number);
            self.end_unused();
        }
    }

    /// The present process is replaced; it lives as long as it has conversations.
    pub(super) fn retire(&mut self, process: Process) {
        self.former.push(Former { generation: self.generation, process });
        self.generation += 1;
        self.end_unused();
        while self.former.len() > MAX_FORMER {
            let oldest = self.former.remove(0);
            tracing::warn!("the Python host of an old configuration is ended although steps run in it");
            self.close(oldest.generation, "it was of an old configuration, and too many were kept");
        }
    }

    /// The present process is gone.
    pub(super) fn process_gone(&mut self, reason: &str) {
        let generation = self.generation;
        self.generation += 1;
        self.close(generation, reason);
    }

    /// Whether so many given-up steps hang in the present process that it should be replaced.
    pub(super) fn is_clogged(&self) -> bool {
        self.hung.values().filter(|generation| **generation == self.generation).count() >= MAX_HUNG
    }

    /// The next event of a process of before; waits for ever while there is none. Safe to cancel.
    pub(super) async fn next(&mut self) -> (u64, Event) {
        poll_fn(|context| {
            for Former { generation, process } in &mut self.former {
                if let Poll::Ready(event) = pin!(process.next()).poll(context) {
                    return Poll::Ready((*generation, event));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// A process of before has said something.
    pub(super) fn former_event(&mut self, generation: u64, event: Event) {
        match event {
            Event::Message(message) => {
                if let Message::Answer(Answer { id, body }) = *message {
                    self.heard(id, body);
                }
            }
            Event::Gone(reason) => {
                self.former.retain(|former| former.generation != generation);
                self.close(generation, &reason);
            }
        }
    }

    fn close(&mut self, generation: u64, reason: &str) {
        self.hung.retain(|_, of| *of != generation);
        let gone = self.open.extract_if(|_, talk| talk.generation == generation);
        for (_, talk) in gone {
            drop(talk.news.send(StepNews::Gone(reason.to_owned())));
        }
    }

    fn end_unused(&mut self) {
        let open = &self.open;
        self.former.retain(|former| open.values().any(|talk| talk.generation == former.generation));
        let former = &self.former;
        let present = self.generation;
        self.hung.retain(|_, of| *of == present || former.iter().any(|former| former.generation == *of));
    }
}

fn send(process: &Process, number: u64, order: &StepOrder) {
    if let Err(error) = process.send(&Request { id: number, body: RequestBody::Step(order) }) {
        tracing::error!("{error}");
    }
}
