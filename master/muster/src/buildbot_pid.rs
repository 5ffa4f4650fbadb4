//! `twistd.pid`: whether a Buildbot runs in a master's directory.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::master_dir::MasterDir;

/// The first process of a system, or of a container: there it is whatever the container runs, and a file that was left in
/// a volume mostly names it.
const FIRST: i32 = 1;

/// The file in which Buildbot tells its process.
const FILE: &str = "twistd.pid";

/// What the file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is none: a Buildbot never ran here, or has ended by itself.
    Nothing,
    /// It was left behind: its process is gone.
    Stale,
}

/// Refuses a directory in which a Buildbot runs; one that has crashed there is told of.
pub fn refuse_live(dir: &MasterDir) -> Result<Seen> {
    let path = dir.path().join(FILE);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(Seen::Nothing) };
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let (dir, path) = (dir.path().display(), path.display());
    match pid.filter(|pid| is_alive(*pid)) {
        Some(pid) => bail!(
            "a Buildbot runs in {dir} (process {pid}, by {path}); stop it with `buildbot stop {dir}`. If that process is \
             something else, remove the file"
        ),
        None => {
            tracing::warn!(
                "{path} names a process that is gone ({}): a Buildbot has crashed here",
                text.trim()
            );
            Ok(Seen::Stale)
        }
    }
}

/// Removes what a Buildbot has left that has crashed, as the next Buildbot would: another process gets its number one day.
pub fn remove_stale(dir: &MasterDir) {
    let path = dir.path().join(FILE);
    match fs::remove_file(&path) {
        Ok(()) => tracing::info!("removed {}: what that Buildbot had is taken over", path.display()),
        Err(error) => tracing::warn!("can't remove {}, remove it by hand: {error}", path.display()),
    }
}

fn is_alive(pid: Pid) -> bool {
    let is_this = Pid::from_raw(i32::try_from(std::process::id()).unwrap_or_default()) == Some(pid);
    // One of somebody else's is alive, too.
    let exists = !matches!(test_kill_process(pid), Err(Errno::SRCH));
    exists && !is_this && !has_ended(pid) && (pid.as_raw_nonzero().get() != FIRST || is_python(pid))
}

/// A process that has ended and that nobody has asked about yet still exists.
fn has_ended(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name in parentheses may hold anything.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

fn is_python(pid: Pid) -> bool {
    let path = PathBuf::from(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    // Where the system doesn't tell, it may be.
    fs::read_to_string(path).map_or(true, |words| words.contains("twistd") || words.contains("buildbot"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_lives_refuses() {
        let home = tempfile::tempdir().unwrap();
        let dir = MasterDir::at(home.path()).unwrap();
        assert_eq!(refuse_live(&dir).unwrap(), Seen::Nothing);
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let pid = ended.id();
        ended.wait().unwrap();
        for stale in [pid.to_string(), String::new(), "nonsense".to_owned(), std::process::id().to_string()] {
            fs::write(home.path().join(FILE), stale).unwrap();
            assert_eq!(refuse_live(&dir).unwrap(), Seen::Stale);
        }
        let mut lives = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(home.path().join(FILE), format!("{}\n", lives.id())).unwrap();
        let refused = refuse_live(&dir).unwrap_err().to_string();
        lives.kill().unwrap();
        lives.wait().unwrap();
        assert!(refused.contains("buildbot stop") && refused.contains("remove the file"), "{refused}");
    }
}
