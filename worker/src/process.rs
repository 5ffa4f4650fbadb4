//! Processes and process groups as the system knows them: identity that survives reuse of ids, and signals.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// How often the end of a group is looked for after a signal; the system offers no event for a whole group.
const GROUP_POLL: Duration = Duration::from_millis(10);

/// Names one process for ever: ids are reused, but not with the same start time in the same run of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    /// Process id, also the id of the group that the process leads.
    pub pid: i32,
    /// Clock ticks from the kernel's start to the process's.
    pub start_time: u64,
    /// Id of the session; tells whose a group is when its leader is gone.
    pub session: i32,
    /// Random id of this run of the kernel: after a reboot no recorded process lives.
    pub kernel_boot: String,
}

/// The part of `/proc/PID/stat` that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcessStat {
    state: u8,
    group: i32,
    session: i32,
    start_time: u64,
}

impl ProcessIdentity {
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let stat = read_stat(pid).ok_or_else(|| io::Error::other("can't read /proc/self/stat"))?;
        Ok(Self { pid, start_time: stat.start_time, session: stat.session, kernel_boot: kernel_boot()? })
    }

    /// True if the recorded group still has living members, and is not a later group under a reused id.
    pub(crate) fn group_lives(&self) -> bool {
        if !kernel_boot().is_ok_and(|boot| boot == self.kernel_boot) {
            return false;
        }
        match read_stat(self.pid) {
            // The system gives an id away again only after its group is empty, so another leader means: ours is gone.
            Some(leader) if leader.start_time != self.start_time => false,
            _ => group_members(self.pid).any(|member| member.session == self.session),
        }
    }
}

/// Sends a signal to a process group. False if there is no such group any more.
pub(crate) fn signal_group(group: i32, signal: Signal) -> io::Result<bool> {
    let Some(group) = Pid::from_raw(group).filter(|pid| !pid.is_init()) else {
        return Err(io::Error::other(format!("{group} is no process group of a command")));
    };
    match kill_process_group(group, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Ends a recorded group: SIGTERM, then SIGKILL after `patience`. False if it still lives after another `patience`.
pub(crate) async fn end_group(identity: &ProcessIdentity, patience: Duration) -> io::Result<bool> {
    for signal in [Signal::TERM, Signal::KILL] {
        if !identity.group_lives() {
            return Ok(true);
        }
        signal_group(identity.pid, signal)?;
        let deadline = Instant::now() + patience;
        while identity.group_lives() && Instant::now() < deadline {
            tokio::time::sleep(GROUP_POLL).await;
        }
    }
    Ok(!identity.group_lives())
}

/// Signal for a name as Buildbot writes it: `KILL`, `TERM`, with or without `SIG`.
pub(crate) fn signal_by_name(name: &str) -> Option<Signal> {
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "ABRT" => Signal::ABORT,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "PIPE" => Signal::PIPE,
        "ALRM" => Signal::ALARM,
        "TERM" => Signal::TERM,
        "CONT" => Signal::CONT,
        "STOP" => Signal::STOP,
        _ => return None,
    })
}

fn kernel_boot() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Living members of a group; zombies don't count, they only wait for somebody to read their exit code.
fn group_members(group: i32) -> impl Iterator<Item = ProcessStat> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(read_stat)
        .filter(move |stat| stat.group == group && !matches!(stat.state, b'Z' | b'X'))
}

fn read_stat(pid: i32) -> Option<ProcessStat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state ppid pgrp session …`; the name may hold anything, so fields are counted from the last `)`.
fn parse_stat(text: &str) -> Option<ProcessStat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(ProcessStat {
        state: *fields.first()?.as_bytes().first()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = "77 (a) b) (c) S 1 70 60 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 123456 1 2 3";
        let stat = ProcessStat { state: b'S', group: 70, session: 60, start_time: 123_456 };
        assert_eq!(parse_stat(text), Some(stat));
        assert_eq!(parse_stat("garbage"), None);
    }

    #[test]
    fn another_start_time_or_kernel_is_another_process() {
        let mut identity = ProcessIdentity::of_this_process().unwrap();
        identity.start_time += 1;
        assert!(!identity.group_lives());
        let mut identity = ProcessIdentity::of_this_process().unwrap();
        identity.kernel_boot = "another".into();
        assert!(!identity.group_lives());
    }

    #[test]
    fn group_zero_and_init_are_never_signalled() {
        assert!(signal_group(0, Signal::TERM).is_err());
        assert!(signal_group(1, Signal::TERM).is_err());
    }
}
