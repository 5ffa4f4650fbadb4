//! What may happen next, and what it does.

use muster_core::{Epoch, invariants};

use super::{
    BUILDS, Cluster, Command, END, MASTERS, Master, OPENINGS, Opening, OrderFrame, Outcome, OwnRun, Power,
    Renewal, STANDSTILL, State, Unsure, VICTIM, Weakness,
    transactions::{self, Write},
};

/// One event. Numbers are masters, unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Action {
    Tick,
    AskRenewal,
    ApplyRenewal,
    HearRenewal,
    /// The other master looks at the victim's lease, and takes over when it has stood still for too long.
    Observe,
    Kill,
    Start,
    Pause,
    Resume,
    Partition,
    Heal,
    /// The worker's connection breaks.
    Cut,
    RestartWorker,
    Dial(usize),
    /// A master answers a dial, by its place among those under way.
    Admit(usize),
    StartRun {
        master: usize,
        lost: bool,
    },
    Write {
        master: usize,
        write: Write,
        lost: bool,
    },
    /// Looks what became of a transaction whose answer was lost.
    Resolve(usize),
    Order(usize),
    /// An order arrives, by its place.
    Deliver {
        order: usize,
        again: bool,
    },
    /// The command goes on, by its build.
    Produce(usize),
    Receive(usize),
    Acknowledge(usize),
}

impl Action {
    /// Whether it makes something worse.
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Action::Kill
                | Action::Pause
                | Action::Partition
                | Action::Cut
                | Action::RestartWorker
                | Action::StartRun { lost: true, .. }
                | Action::Write { lost: true, .. }
                | Action::Deliver { again: true, .. }
        )
    }
}

impl State {
    /// Keeps the first rule that was broken.
    pub(super) fn note(&mut self, verdict: invariants::Verdict) {
        if let (Err(violation), None) = (verdict, &self.broken) {
            self.broken = Some(violation.0);
        }
    }

    fn reaches_database(&self, master: usize) -> bool {
        let master = &self.masters[master];
        master.power == Power::Up && !master.partitioned
    }

    /// No order that was sent on the old connection, and no news of it, counts on the next one.
    fn hang_up(&mut self) {
        self.worker.line = None;
        let runs = self.masters.iter_mut().flat_map(|master| {
            let unsure = master.unsure.as_mut().and_then(|unsure| unsure.run.as_mut());
            master.run.as_mut().into_iter().chain(unsure)
        });
        for run in runs {
            (run.ordered, run.attached, run.received) = (false, false, run.stored);
        }
    }
}

pub(super) fn enabled(model: &Cluster, state: &State, actions: &mut Vec<Action>) {
    // A state that is an accident already leads nowhere.
    if state.broken.is_some() {
        return;
    }
    if state.left.ticks > 0 {
        actions.push(Action::Tick);
    }
    of_lease(model, state, actions);
    of_power(state, actions);
    for master in 0..MASTERS {
        of_run(model, state, master, actions);
    }
    of_worker(model, state, actions);
}

fn of_lease(model: &Cluster, state: &State, actions: &mut Vec<Action>) {
    let victim = &state.masters[VICTIM];
    match victim.renewal {
        None if victim.power == Power::Up && victim.trust_age > 0 => actions.push(Action::AskRenewal),
        Some(Renewal { applied: false, .. }) if victim.power != Power::Down && !victim.partitioned => {
            actions.push(Action::ApplyRenewal);
        }
        Some(Renewal { applied: true, .. }) if state.reaches_database(VICTIM) => {
            actions.push(Action::HearRenewal);
        }
        _ => {}
    }
    let is_news = state.seen.is_none_or(|seen| seen.moved || seen.age >= STANDSTILL);
    // Without time nothing comes of it.
    if is_news && model.faults.ticks > 0 && !state.leases[VICTIM].expired {
        actions.push(Action::Observe);
    }
}

fn of_power(state: &State, actions: &mut Vec<Action>) {
    let (victim, left) = (&state.masters[VICTIM], &state.left);
    match victim.power {
        Power::Up if left.kills > 0 => actions.push(Action::Kill),
        Power::Paused => actions.push(Action::Resume),
        Power::Down => actions.push(Action::Start),
        Power::Up => {}
    }
    if victim.power == Power::Up && left.pauses > 0 {
        actions.push(Action::Pause);
    }
    if victim.partitioned {
        actions.push(Action::Heal);
    } else if left.partitions > 0 && victim.power != Power::Down {
        actions.push(Action::Partition);
    }
}

fn of_run(model: &Cluster, state: &State, index: usize, actions: &mut Vec<Action>) {
    let master = &state.masters[index];
    if master.power != Power::Up {
        return;
    }
    let (reaches, connected) = (state.reaches_database(index), state.worker.line == Some(index));
    if master.unsure.is_some() {
        actions.extend(reaches.then_some(Action::Resolve(index)));
        return;
    }
    let either = |action: &dyn Fn(bool) -> Action, actions: &mut Vec<Action>| {
        actions.extend(reaches.then(|| action(false)));
        actions.extend((reaches && state.left.lost_answers > 0).then(|| action(true)));
    };
    let Some(run) = &master.run else {
        let holds = state.session.is_some_and(|session| session.holder == index);
        let pending = !state.claimed && !state.complete && state.builds.len() < BUILDS;
        if holds && connected && pending && model.trusts(master) {
            either(&|lost| Action::StartRun { master: index, lost }, actions);
        }
        return;
    };
    for write in due_writes(model, state, run, connected) {
        either(&|lost| Action::Write { master: index, write, lost }, actions);
    }
    if connected && model.trusts(master) {
        let command = state.worker.commands[run.build].filter(|command| command.known);
        if may_order(model, state, run) {
            actions.push(Action::Order(index));
        }
        let done = if model.has(Weakness::EarlyAcknowledgement) { run.stored } else { run.received };
        if run.attached && command.is_some_and(|command| command.acknowledged < done) {
            actions.push(Action::Acknowledge(index));
        }
        if run.attached && command.is_some_and(|command| command.produced > run.received) {
            actions.push(Action::Receive(index));
        }
    }
}

fn due_writes(model: &Cluster, state: &State, run: &OwnRun, connected: bool) -> Vec<Write> {
    let mut due = Vec::new();
    if connected && run.intent.is_none() {
        due.push(Write::Intent(state.worker.boot));
    }
    if run.received > run.stored {
        due.push(Write::Store);
    }
    if run.stored == END {
        due.push(Write::Finish(Outcome::Success));
    }
    // The worker is here, but as another process.
    let lost = run.intent.is_some_and(|boot| boot != state.worker.boot) && model.has(Weakness::NoBootId);
    if connected && lost && run.stored < END {
        due.push(Write::Finish(Outcome::Retry));
    }
    due
}

fn may_order(model: &Cluster, state: &State, run: &OwnRun) -> bool {
    let same_life = run.intent == Some(state.worker.boot);
    !run.ordered
        && run.stored < END
        && (same_life || (run.intent.is_some() && !model.has(Weakness::NoBootId)))
}

fn of_worker(model: &Cluster, state: &State, actions: &mut Vec<Action>) {
    let worker = &state.worker;
    if worker.line.is_some() && state.left.cuts > 0 {
        actions.push(Action::Cut);
    }
    if state.left.worker_restarts > 0 {
        actions.push(Action::RestartWorker);
    }
    if worker.line.is_none() && state.openings.len() < OPENINGS {
        // Nobody knows the other one's number; more dials than faults bring nothing new.
        let most =
            1 + model.faults.cuts + model.faults.worker_restarts + model.faults.pauses + model.faults.kills;
        if worker.dial < most {
            actions.extend((0..MASTERS).map(Action::Dial));
        }
    }
    for (place, opening) in state.openings.iter().enumerate() {
        if state.reaches_database(opening.to) && model.trusts(&state.masters[opening.to]) {
            actions.push(Action::Admit(place));
        }
    }
    for order in 0..state.orders.len() {
        actions.push(Action::Deliver { order, again: false });
        if state.left.duplicates > 0 {
            actions.push(Action::Deliver { order, again: true });
        }
    }
    for (build, command) in worker.commands.iter().enumerate() {
        if command.is_some_and(|command| command.known && command.produced < END) {
            actions.push(Action::Produce(build));
        }
    }
}

pub(super) fn apply(model: &Cluster, state: &mut State, action: Action) {
    match action {
        Action::Tick => tick(model, state),
        Action::AskRenewal => {
            state.masters[VICTIM].renewal = Some(Renewal { age: 0, applied: false });
        }
        Action::ApplyRenewal => apply_renewal(state),
        Action::HearRenewal => hear_renewal(model, &mut state.masters[VICTIM]),
        Action::Observe => {
            if transactions::observe(state) {
                transactions::take_over(state);
            }
        }
        Action::Kill | Action::Start | Action::Pause | Action::Resume | Action::Partition | Action::Heal => {
            power(state, action)
        }
        Action::StartRun { master, lost } => {
            let run = Some(transactions::start_run(state, master));
            answer(state, master, run, lost);
        }
        Action::Write { master, write, lost } => {
            let Some(run) = state.masters[master].run.clone() else { return };
            let run = transactions::write(model, state, &run, master, write);
            answer(state, master, run, lost);
        }
        Action::Resolve(master) => {
            let master = &mut state.masters[master];
            if let Some(unsure) = master.unsure.take().filter(|_| model.has(Weakness::BlindRetry)) {
                master.run = unsure.run;
            }
        }
        action => on_the_wire(model, state, action),
    }
}

/// A transaction is committed; its answer arrives, or not.
fn answer(state: &mut State, master: usize, run: Option<OwnRun>, lost: bool) {
    let process = &mut state.masters[master];
    if lost {
        state.left.lost_answers -= 1;
        process.unsure = Some(Unsure { run });
    } else {
        process.run = run;
    }
}

fn tick(model: &Cluster, state: &mut State) {
    state.left.ticks -= 1;
    // Beyond that nothing changes any more.
    let older = |age: &mut u8| *age = (*age + 1).min(STANDSTILL + 2);
    if let Some(seen) = &mut state.seen {
        older(&mut seen.age);
    }
    let victim = &mut state.masters[VICTIM];
    let stands_still = victim.power == Power::Paused && !model.has(Weakness::ClockStandsStill);
    if victim.power == Power::Down || stands_still {
        return;
    }
    older(&mut victim.trust_age);
    if let Some(renewal) = &mut victim.renewal {
        older(&mut renewal.age);
    }
}

fn apply_renewal(state: &mut State) {
    let (victim, lease) = (&mut state.masters[VICTIM], state.leases[VICTIM]);
    if lease.expired || lease.incarnation != victim.incarnation {
        // It is told, and ends.
        return end(state, VICTIM);
    }
    victim.renewal = victim.renewal.map(|renewal| Renewal { applied: true, ..renewal });
    transactions::moved(state);
}

fn hear_renewal(model: &Cluster, master: &mut Master) {
    if let Some(renewal) = master.renewal.take() {
        master.trust_age = if model.has(Weakness::TrustFromAnswer) { renewal.age } else { 0 };
    }
}

/// A process is gone, with all it knew and with its connections.
fn end(state: &mut State, index: usize) {
    let master = &mut state.masters[index];
    *master = Master {
        power: Power::Down,
        partitioned: false,
        trust_age: 0,
        renewal: None,
        run: None,
        unsure: None,
        ..*master
    };
    state.openings.retain(|opening| opening.to != index);
    if state.worker.line == Some(index) {
        state.hang_up();
    }
}

fn power(state: &mut State, action: Action) {
    let victim = &mut state.masters[VICTIM];
    match action {
        Action::Kill => {
            state.left.kills -= 1;
            end(state, VICTIM);
        }
        Action::Start => {
            (victim.power, victim.incarnation) = (Power::Up, victim.incarnation + 1);
            transactions::start_master(state, VICTIM);
        }
        Action::Pause => {
            state.left.pauses -= 1;
            victim.power = Power::Paused;
        }
        Action::Partition => {
            state.left.partitions -= 1;
            victim.partitioned = true;
        }
        Action::Resume => victim.power = Power::Up,
        Action::Heal => victim.partitioned = false,
        _ => {}
    }
}

fn on_the_wire(model: &Cluster, state: &mut State, action: Action) {
    match action {
        Action::Cut => {
            state.left.cuts -= 1;
            cut(model, state);
        }
        Action::RestartWorker => {
            state.left.worker_restarts -= 1;
            cut(model, state);
            state.worker.boot += 1;
            for command in state.worker.commands.iter_mut().flatten() {
                command.known = false;
            }
        }
        Action::Dial(to) => {
            state.worker.dial += 1;
            state.openings.push(Opening { boot: state.worker.boot, dial: state.worker.dial, to });
        }
        Action::Admit(place) => {
            let opening = state.openings.remove(place);
            let current = (opening.boot, opening.dial) == (state.worker.boot, state.worker.dial);
            if transactions::dial(model, state, opening) && current {
                state.worker.line = Some(opening.to);
            }
        }
        Action::Order(master) => order(state, master),
        Action::Deliver { order, again } => deliver(model, state, order, again),
        Action::Produce(build) => {
            if let Some(command) = &mut state.worker.commands[build] {
                command.produced += 1;
            }
        }
        Action::Receive(master) => {
            if let Some(run) = &mut state.masters[master].run {
                run.received += 1;
            }
        }
        Action::Acknowledge(master) => acknowledge(model, state, master),
        _ => {}
    }
}

fn cut(model: &Cluster, state: &mut State) {
    state.hang_up();
    // What was on its way is gone with the connection.
    if model.has(Weakness::TrustingWorker) {
        state.orders.clear();
    }
}

fn order(state: &mut State, master: usize) {
    let Some(run) = &mut state.masters[master].run else { return };
    run.ordered = true;
    let known = state.worker.commands[run.build].is_some_and(|command| command.known);
    let (dial, build, epoch) = (state.worker.dial, run.build, run.epoch);
    state.orders.push(OrderFrame { dial, build, epoch, start: !known });
}

fn deliver(model: &Cluster, state: &mut State, place: usize, again: bool) {
    let frame = state.orders[place];
    if again {
        state.left.duplicates -= 1;
    } else {
        state.orders.remove(place);
    }
    let careful = model.has(Weakness::TrustingWorker);
    if careful && (state.worker.line.is_none() || frame.dial != state.worker.dial) {
        return;
    }
    let command = &mut state.worker.commands[frame.build];
    match command {
        Some(known) if known.known => {
            if careful && frame.epoch < known.epoch {
                return;
            }
            let verdict = invariants::order_is_current(Epoch(known.epoch), Epoch(frame.epoch));
            known.epoch = known.epoch.max(frame.epoch);
            state.note(verdict);
        }
        _ if frame.start => {
            let executions = command.map_or(0, |command| command.executions) + 1;
            let epoch = frame.epoch;
            *command = Some(Command { known: true, epoch, executions, produced: 0, acknowledged: 0 });
        }
        _ => return,
    }
    let Some(master) = state.worker.line else { return };
    if let Some(run) = &mut state.masters[master].run
        && (run.build, run.epoch) == (frame.build, frame.epoch)
    {
        run.attached = true;
    }
}

fn acknowledge(model: &Cluster, state: &mut State, master: usize) {
    let Some(run) = &state.masters[master].run else { return };
    let done = if model.has(Weakness::EarlyAcknowledgement) { run.stored } else { run.received };
    if let Some(command) = &mut state.worker.commands[run.build] {
        command.acknowledged = done;
    }
}
