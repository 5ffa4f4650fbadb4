//! Effects that nobody waits for: what they do goes to the run's recorder at once.

use muster_core::{LogKind, Property, Timestamp};
use muster_data::RunWrite;
use serde_json::Value;

use super::{
    context::StepContext,
    effect::{Effect, LineKind, Outcome},
    end::{StepEnd, outcome},
    journal::{Entry, Matching},
    logs::LogRef,
};

impl StepContext<'_> {
    /// Performs an effect that nobody waits for.
    pub(crate) fn perform_now(&mut self, effect: &Effect, matching: Matching) -> Result<Outcome, StepEnd> {
        #[cfg(test)]
        if let Some(outcome) = self.doubled(effect) {
            return outcome;
        }
        match effect {
            Effect::AddLog { name, kind } => {
                let log = self.begin_log(effect, name, *kind, matching)?;
                return Ok(Outcome::Log(log));
            }
            Effect::Append { log, stream, text } => self.append_to(effect, log, *stream, text, matching)?,
            Effect::FinishLog { log } => {
                let (step, slug) = (self.number, log.slug.clone());
                self.core.recorder.write(RunWrite::LogFinished { step, slug });
            }
            Effect::SetProperty { name, value, source } => {
                self.keep_property(name, value.clone(), source, matching)?;
            }
            Effect::AddUrl { name, url } => self.add_url(name, url),
            Effect::SetState { text } => self.set_state(text),
            Effect::SetSummary { text, over_configured: true } => self.outcome = Some(text.clone()),
            Effect::SetSummary { text, over_configured: false } => self.summary = Some(text.clone()),
            Effect::Time => return Ok(Outcome::Time(self.moment(effect, matching)?)),
            other => {
                let kind = other.kind();
                return Err(StepEnd::Exception(format!("nobody here can perform the effect {kind}")));
            }
        }
        Ok(Outcome::Done)
    }

    fn begin_log(
        &mut self,
        effect: &Effect,
        name: &str,
        kind: LogKind,
        matching: Matching,
    ) -> Result<LogRef, StepEnd> {
        let entry = self.journal.find(effect, matching)?;
        // Journals of replay version 1 don't tell the slug: it follows from the order.
        if let Entry::Recorded(recorded) = &entry
            && let Ok(slug) = outcome::<String>(&recorded.row)
        {
            return Ok(LogRef { slug, kind });
        }
        let shown = self.core.recorder.concealed(name).into_owned();
        let slug = self.free_slug(&shown);
        if let Entry::Live(row) = entry {
            match self.journal.version() {
                1 => self.record(row, &())?,
                _ => self.record(row, &slug)?,
            }
            let (step, slug, name) = (self.number, slug.clone(), shown);
            self.core.recorder.write(RunWrite::LogAdded { step, slug, name, kind });
        }
        Ok(LogRef { slug, kind })
    }

    fn append_to(
        &mut self,
        effect: &Effect,
        log: &LogRef,
        stream: LineKind,
        text: &str,
        matching: Matching,
    ) -> Result<(), StepEnd> {
        if let Entry::Live(row) = self.journal.find(effect, matching)? {
            self.record(row, &())?;
            self.core.recorder.append(self.number, log, stream.marker(), text);
        }
        Ok(())
    }

    fn keep_property(
        &mut self,
        name: &str,
        mut value: Value,
        source: &str,
        matching: Matching,
    ) -> Result<(), StepEnd> {
        let secrets = self.core.recorder.secrets();
        secrets.conceal_value(&mut value);
        let name = secrets.concealed(name).into_owned();
        let property = Property(value, source.to_owned());
        if let Some(reason) = self.core.data.refuses_property(&name, &property) {
            return Err(StepEnd::Exception(reason));
        }
        let Property(value, source) = property;
        let effect = Effect::SetProperty { name: name.clone(), value: value.clone(), source: source.clone() };
        if let Entry::Live(row) = self.journal.find(&effect, matching)? {
            self.record(row, &())?;
        }
        self.core.properties.set(&name, value.clone(), &source);
        self.new_properties.set(&name, value, &source);
        Ok(())
    }

    /// The present second, or the one that an earlier execution got.
    pub(crate) fn moment(&mut self, effect: &Effect, matching: Matching) -> Result<Timestamp, StepEnd> {
        match self.journal.find(effect, matching)? {
            Entry::Recorded(recorded) => outcome(&recorded.row),
            Entry::Live(row) => {
                let now = muster_data::now();
                self.record(row, &now)?;
                Ok(now)
            }
        }
    }

    /// What a test has an effect come to.
    #[cfg(test)]
    pub(crate) fn doubled(&mut self, effect: &Effect) -> Option<Result<Outcome, StepEnd>> {
        self.double.as_mut()?(effect)
    }
}
