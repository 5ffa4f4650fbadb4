//! What the terminal shows: one line for each thing that happened, and one that moves for what is going on.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Lines with the time since the beginning.
pub struct Progress {
    began: Instant,
    is_terminal: bool,
    /// A moving line stands at the cursor.
    moving: Cell<bool>,
}

impl Progress {
    /// The clock starts.
    pub fn begin() -> Progress {
        Progress {
            began: Instant::now(),
            is_terminal: std::io::stdout().is_terminal(),
            moving: Cell::new(false),
        }
    }

    /// Something happened.
    pub fn say(&self, what: &str) {
        self.clear();
        self.print(&format!("{}  {what}\n", self.time()));
    }

    /// Something is going on. Shown on a terminal only, until the next line.
    pub fn meanwhile(&self, what: &str) {
        if self.is_terminal {
            self.clear();
            self.print(&format!("{}  {what}", self.time()));
            self.moving.set(true);
        }
    }

    /// Lines as they are, such as those of a log.
    pub fn quote<'a>(&self, lines: impl Iterator<Item = &'a str>) {
        self.clear();
        for line in lines {
            self.print(&format!("          | {line}\n"));
        }
    }

    /// Nothing more will come.
    pub fn end(&self) {
        self.clear();
    }

    fn time(&self) -> String {
        format!("{:6.1} s", self.began.elapsed().as_secs_f64())
    }

    fn clear(&self) {
        if self.moving.replace(false) {
            self.print("\r\x1b[2K");
        }
    }

    fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A closed terminal or pipe is no reason to stop building.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
