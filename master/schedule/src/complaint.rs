//! Telling about a lasting trouble once, not at each try.

/// The trouble that was told about last.
#[derive(Debug, Default)]
pub(crate) struct Complaint(Option<String>);

impl Complaint {
    /// Logs `error` unless it is the same as the last one; a success after an error is told too.
    pub(crate) fn note(&mut self, who: &str, outcome: Result<(), String>) {
        match outcome {
            Err(error) if self.0.as_ref() != Some(&error) => {
                tracing::warn!("{who}: {error}; will be tried again");
                self.0 = Some(error);
            }
            Err(_) => {}
            Ok(()) => {
                if self.0.take().is_some() {
                    tracing::info!("{who}: works again");
                }
            }
        }
    }
}
