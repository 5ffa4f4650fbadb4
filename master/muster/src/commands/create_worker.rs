//! `muster create-worker`: a directory from which `muster worker DIR` alone starts the worker.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use muster_session::MasterUrl;

use super::worker_file::WorkerFile;
use crate::cli::CreateWorker;
use crate::master_dir::make_private_dir;

/// Creates the directory, its `worker.toml` and `info/`.
pub fn run(options: &CreateWorker) -> Result<ExitCode> {
    let master = with_scheme(&options.master);
    master.parse::<MasterUrl>()?;
    let info = options.dir.join("info");
    make_private_dir(&info)
        .with_context(|| format!("can't create {}; choose another directory", info.display()))?;
    let file = WorkerFile {
        masters: vec![master],
        name: Some(options.name.clone()),
        password: Some(options.password.clone()),
    };
    file.create(&options.dir)?;
    write_if_missing(&info.join("admin"), "Your Name Here <admin@youraddress.invalid>\n")?;
    write_if_missing(&info.join("host"), "Please put a description of this machine here\n")?;
    if !options.quiet {
        let dir = options.dir.display();
        println!("created {dir}");
        println!(
            "next: say in {dir}/info/admin and {dir}/info/host whom to ask and what machine this is, and run"
        );
        println!("  muster worker {dir}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Users of Buildbot write `HOST:PORT`.
fn with_scheme(master: &str) -> String {
    if master.contains("://") { master.to_owned() } else { format!("ws://{master}") }
}

fn write_if_missing(path: &Path, text: &str) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}
