//! Crossbar, the router that others use, and autobahn, which comes with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::{Process, Site};

const CROSSBAR: &str = "crossbar==26.10.1";

/// A program of the virtualenv that has Crossbar: `MUSTER_CROSSBAR_BIN` names the directory, or it is made once in the
/// target directory.
pub fn program(name: &str) -> PathBuf {
    if let Some(given) = std::env::var_os("MUSTER_CROSSBAR_BIN") {
        return PathBuf::from(given).join(name);
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::fs::create_dir_all(&target).unwrap();
    let target = target.canonicalize().unwrap();
    let venv = target.join(".venv-crossbar-26.10.1");
    // Each test is a process of its own: the first one installs, the others wait for it.
    let lock = std::fs::File::create(target.join(".venv-crossbar.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    if !venv.join("bin/crossbar").exists() {
        install(&venv);
    }
    venv.join("bin").join(name)
}

fn install(venv: &Path) {
    let run = |command: &mut Command| {
        assert!(command.status().unwrap().success(), "can't install {CROSSBAR} into {}", venv.display());
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(venv));
    run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", CROSSBAR]));
}

/// Starts a node with `config` and waits until its `sockets` accept: unix sockets, or HOST:PORT.
pub fn start(site: &Site, config: &Value, sockets: &[&str]) -> Process {
    let directory = site.path("crossbar");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let mut command = Command::new(program("crossbar"));
    command.args(["start", "--loglevel", "error", "--cbdir"]).arg(&directory).current_dir(&directory);
    let process = Process::start(&mut command, &site.path("crossbar.log"));
    for socket in sockets {
        crate::until(&format!("Crossbar on {socket}"), || accepts(socket).then_some(()));
    }
    process
}

fn accepts(socket: &str) -> bool {
    match socket.starts_with('/') {
        true => std::os::unix::net::UnixStream::connect(socket).is_ok(),
        false => std::net::TcpStream::connect(socket).is_ok(),
    }
}
