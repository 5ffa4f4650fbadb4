//! `muster cluster`, `muster run`, `muster release`: the cluster seen and mended through its database.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use muster_bus::Bus;
use muster_core::policy::{Action, Permit};
use muster_core::{BuildId, MasterId};
use muster_data::views::PendingPage;
use muster_data::{ClusterStatus, Data, MasterOrder, Mended, WorkerOrder, now};
use muster_store::Db;
use muster_store::views::ClusterMaster;

use crate::cli::{Cluster, ClusterCommand, DatabaseOf, Run, RunCommand, RunOf, StopMember, StopWorker};
use crate::master_dir::MasterDir;
use crate::{commands, config, logging};

/// How long a lease is watched: longer than two renewals take, so that a live one is seen to move.
const WATCH: Duration = Duration::from_secs(4);

/// `muster cluster`.
pub fn run(options: &Cluster) -> Result<ExitCode> {
    match &options.command {
        ClusterCommand::Status(target) => with_data(target, async |data| {
            let (before, after) = watched(&data).await?;
            print!("{}", table(&before, &after, &data.cluster_waiting().await?));
            Ok(())
        }),
        ClusterCommand::Restore(target) => with_data(target, async |data| {
            refuse_live(&data, "restoring takes all workers and builds from them").await?;
            let (generation, builds) = data.restore(&Permit::command_line(Action::MendRuns)).await?;
            println!(
                "{builds} builds of the backup are pending again; the cluster's generation is {generation}"
            );
            Ok(())
        }),
        ClusterCommand::Stop(stop) => {
            with_data(&in_directory(&stop.dir), async |data| stop_master(&data, stop).await)
        }
        ClusterCommand::StopWorker(stop) => {
            with_data(&in_directory(&stop.dir), async |data| stop_worker(&data, stop).await)
        }
    }
}

fn in_directory(dir: &Path) -> DatabaseOf {
    DatabaseOf { dir: dir.to_owned() }
}

/// The order is a row; there is no bus here, so the master finds it at its next look.
async fn stop_master(data: &Data, stop: &StopMember) -> Result<()> {
    let masters = data.cluster_status().await?.masters;
    let wanted = |master: &&ClusterMaster| master.id.to_string() == stop.master || master.name == stop.master;
    let Some(master) = masters.iter().find(wanted) else {
        bail!("there is no master {}; `muster cluster status` shows those that are there", stop.master);
    };
    let order = if stop.graceful { MasterOrder::Finish } else { MasterOrder::HandOver };
    if !data.control_master(&Permit::command_line(Action::StopMaster), master.id, order, REASON).await? {
        bail!("{} doesn't run, or is a master of Buildbot: those are stopped on their machine", master.name);
    }
    println!("{} stops; `muster cluster status` shows how far it is", master.name);
    Ok(())
}

async fn stop_worker(data: &Data, stop: &StopWorker) -> Result<()> {
    let Some(worker) = data.worker_named(&stop.worker).await? else {
        bail!("there is no worker named {}", stop.worker);
    };
    let order = if stop.kill { WorkerOrder::Kill } else { WorkerOrder::Stop };
    if !data.control_worker(&Permit::command_line(order.action()), worker, order, REASON).await? {
        bail!("{} is connected to masters of Buildbot only; stop it on a page of theirs", stop.worker);
    }
    println!(
        "{} was told to end{}",
        stop.worker,
        if stop.kill { " at once" } else { " when its builds are done" }
    );
    Ok(())
}

/// What is kept as the reason of these orders.
const REASON: &str = "ordered on the command line";

/// `muster run`.
pub fn mend(options: &Run) -> Result<ExitCode> {
    match &options.command {
        RunCommand::Retry(run) => with_run(run, async |data, build| {
            Ok(data.retry_run(&Permit::command_line(Action::MendRuns), build).await?)
        }),
        RunCommand::Release(run) => with_run(run, async |data, build| {
            Ok(data.release_run(&Permit::command_line(Action::MendRuns), build).await?)
        }),
    }
}

/// `muster release`.
pub fn release(target: &DatabaseOf) -> Result<ExitCode> {
    with_data(target, async |data| {
        refuse_live(&data, "they would go on with the builds that are to be given back").await?;
        let builds = data.release_all(&Permit::command_line(Action::MendRuns), "Muster gave it back").await?;
        println!("{builds} builds were given back; Buildbot's masters may be started on this database");
        Ok(())
    })
}

fn with_run(run: &RunOf, work: impl AsyncFnOnce(&Data, BuildId) -> Result<Mended>) -> Result<ExitCode> {
    let build = BuildId(run.build);
    with_data(&DatabaseOf { dir: run.dir.clone() }, async |data| {
        match work(&data, build).await? {
            Mended::Ended => println!("build {build} has ended; its request is pending again"),
            Mended::Released => {
                println!("build {build} was taken from its master; an engine goes on with it within seconds");
            }
            Mended::Theirs(master) => bail!(
                "build {build} is run by {master}, a master of Buildbot that was heard of in the last ten minutes; stop the \
                 build there"
            ),
            Mended::Over => bail!("no build {build} runs; `muster cluster status` shows those that run"),
        }
        Ok(())
    })
}

fn with_data(target: &DatabaseOf, work: impl AsyncFnOnce(Data) -> Result<()>) -> Result<ExitCode> {
    logging::warnings_to_terminal();
    let dir = MasterDir::open(&target.dir)?;
    commands::block_on(async {
        let db = Db::open(&config::database(&dir).await?.0).await?;
        work(Data::new(db, Bus::default())).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The cluster now, and as it was a few seconds ago.
async fn watched(data: &Data) -> Result<(ClusterStatus, ClusterStatus)> {
    let before = data.cluster_status().await?;
    tokio::time::sleep(WATCH).await;
    Ok((before, data.cluster_status().await?))
}

async fn refuse_live(data: &Data, why: &str) -> Result<()> {
    let (before, after) = watched(data).await?;
    let before = counters(&before);
    let live = after.masters.iter().filter(|master| lease_of(master, &before) == Seen::Renewed);
    let live: Vec<&str> = live.map(|master| master.name.as_str()).collect();
    if live.is_empty() {
        return Ok(());
    }
    bail!("these masters run: {}; stop them first, {why}", live.join(", "))
}

/// What was seen of a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Renewed,
    StandsStill,
    /// It is over, or there is none.
    Over,
}

fn counters(status: &ClusterStatus) -> BTreeMap<MasterId, i64> {
    let counter = |master: &ClusterMaster| Some((master.id, master.lease.as_ref()?.counter));
    status.masters.iter().filter_map(counter).collect()
}

fn lease_of(master: &ClusterMaster, before: &BTreeMap<MasterId, i64>) -> Seen {
    match &master.lease {
        Some(lease) if matches!(lease.state.as_str(), "stopped" | "expired") => Seen::Over,
        Some(lease) if before.get(&master.id) != Some(&lease.counter) => Seen::Renewed,
        Some(_) => Seen::StandsStill,
        None => Seen::Over,
    }
}

fn table(before: &ClusterStatus, after: &ClusterStatus, queue: &PendingPage) -> String {
    let before = counters(before);
    let masters = after.masters.iter().map(|master| {
        let (kind, roles, state, version) = match &master.lease {
            // A Buildbot master may have been started where a Muster master was before.
            Some(lease) if !(master.active && lease.state == "stopped") => {
                ("Muster", lease.roles.clone(), lease.state.clone(), lease.version.clone())
            }
            _ => (
                "Buildbot",
                String::new(),
                if master.active { "active" } else { "down" }.to_owned(),
                String::new(),
            ),
        };
        let lease = match lease_of(master, &before) {
            Seen::Renewed => "renewed".to_owned(),
            Seen::StandsStill => "STANDS STILL".to_owned(),
            Seen::Over if kind == "Buildbot" => format!("seen {} ago", age(master.last_active.0)),
            Seen::Over => "-".to_owned(),
        };
        let name = master.name.clone();
        vec![master.id.to_string(), name, kind.to_owned(), version, roles, state, lease]
    });
    let mut text = String::new();
    // Writing into a String can't fail.
    let _ = writeln!(text, "Masters (generation {})", after.generation);
    text += &aligned(&["ID", "NAME", "KIND", "VERSION", "ROLES", "STATE", "LEASE"], masters.collect());
    let runs = after.runs.iter().map(|run| {
        let owner = run.master.clone().unwrap_or_else(|| "nobody".to_owned());
        let epoch = run.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.0.to_string());
        let worker = run.worker.clone().unwrap_or_default();
        let build = format!("{} #{}", run.builder, run.number);
        vec![run.build.to_string(), build, worker, owner, epoch, age(run.started_at.0), run.state.clone()]
    });
    text += "\nBuilds\n";
    text += &aligned(&["ID", "BUILD", "WORKER", "OWNER", "EPOCH", "AGE", "DOES"], runs.collect());
    let waiting = queue.waiting.iter().map(|waiting| {
        let request = &waiting.request;
        let why = waiting.why.clone();
        vec![request.id.to_string(), request.builder_name.clone(), age(request.submitted_at.0), why]
    });
    let _ = writeln!(text, "\nWaiting ({})", queue.summary.count);
    text += &aligned(&["REQUEST", "BUILDER", "AGE", "WHY"], waiting.collect());
    text
}

fn age(since: i64) -> String {
    let seconds = (now().0 - since).max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Columns as wide as what stands in them; without rows, a dash.
fn aligned(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "  -\n".to_owned();
    }
    let mut all: Vec<Vec<String>> = vec![heads.iter().map(|head| (*head).to_owned()).collect()];
    all.extend(rows);
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        format!("  {}\n", cells.join("  ").trim_end())
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let rows = vec![vec!["1".to_owned(), "long name".to_owned()], vec!["22".to_owned(), String::new()]];
        assert_eq!(aligned(&["ID", "N"], rows), "  ID  N\n  1   long name\n  22\n");
        assert_eq!(aligned(&["ID"], Vec::new()), "  -\n");
    }
}
