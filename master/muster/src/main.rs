//! The one binary: commands, wiring, task tree.

mod buildbot_pid;
mod cli;
mod commands;
mod config;
mod demo;
mod interpreter;
mod log_follower;
mod logging;
mod master;
mod master_dir;
mod metrics;
mod mq;
mod pid_file;
mod ports;
mod router_file;
mod secrets;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// Gives memory back that isn't used any more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For tests of upgrades: a debug build with this in its environment behaves as the next version would.
const NEWER: &str = "MUSTER_TEST_NEWER";

fn main() -> ExitCode {
    // The worker starts its commands through this same binary; then this call does not return.
    muster_worker::launch::run_if_asked();
    if std::env::var_os(NEWER).is_some() {
        muster_core::skew::be_newer();
    }
    logging::on_panic(|said| eprintln!("muster: {said}"));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return tell_usage(&told),
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("muster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::CreateMaster(options) => commands::create_master::run(&options),
        Command::UpgradeMaster(options) => commands::upgrade_master::run(&options),
        Command::Checkconfig(options) => commands::checkconfig::run(&options),
        Command::Master(options) => commands::master::run(&options),
        Command::Start(options) => commands::control::start(&options),
        Command::Stop(options) => commands::control::stop(&options),
        Command::Restart(options) => commands::control::restart(&options),
        Command::Reconfig(options) => commands::control::reconfig(&options),
        Command::Cluster(options) => commands::cluster::run(&options),
        Command::Run(options) => commands::cluster::mend(&options),
        Command::Release(options) => commands::cluster::release(&options),
        Command::Worker(options) => commands::worker::run(options),
        Command::CreateWorker(options) => commands::create_worker::run(&options),
        Command::Router(options) => commands::router::run(&options),
        Command::Demo(options) => demo::run(&options),
    }
}

/// Help and version go to standard output and are no failure; wrong usage exits 1, as everything else that fails.
fn tell_usage(told: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone.
    let _ = told.print();
    if told.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
