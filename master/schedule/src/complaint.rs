//! Telling about a lasting trouble once, not at each try.

/// The trouble that was told about last.
#[derive(Debug, Default)]
pub(crate) struct Complaint(Option<String>);

/// What is worth telling.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Another trouble than before.
    Trouble(String),
    /// The trouble is over.
    Over,
}

impl Complaint {
    /// Takes note of how a try ended; answers what has changed since the last one.
    pub(crate) fn note(&mut self, outcome: Result<(), String>) -> Option<News> {
        match outcome {
            Err(error) if self.0.as_ref() == Some(&error) => None,
            Err(error) => {
                self.0 = Some(error.clone());
                Some(News::Trouble(error))
            }
            Ok(()) => self.0.take().map(|_| News::Over),
        }
    }

    /// The same, and tells it to the log.
    pub(crate) fn log(&mut self, who: &str, outcome: Result<(), String>) {
        match self.note(outcome) {
            Some(News::Trouble(error)) => tracing::warn!("{who}: {error}; it will be tried again"),
            Some(News::Over) => tracing::info!("{who}: works again"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_news_are_told() {
        let mut complaint = Complaint::default();
        let trouble = |text: &str| Err(text.to_owned());
        assert_eq!(complaint.note(Ok(())), None);
        assert_eq!(complaint.note(trouble("a")), Some(News::Trouble("a".into())));
        assert_eq!(complaint.note(trouble("a")), None);
        assert_eq!(complaint.note(trouble("b")), Some(News::Trouble("b".into())));
        assert_eq!(complaint.note(Ok(())), Some(News::Over));
        assert_eq!(complaint.note(Ok(())), None);
    }
}
