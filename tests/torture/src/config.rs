//! The configuration that all masters share. What differs between them on one machine comes from the environment.

use std::net::SocketAddr;

use muster_tests::{Site, worker::PASSWORD};

/// Units of the lock that is counted.
pub const COUNTED: usize = 3;
/// Lines of a step.
pub const LINES: u32 = 12;
/// Names of builders, and on which workers they run.
pub const BUILDERS: [&str; 4] = ["plain", "stock", "locked", "commits"];

/// Where a step writes down what it does: `BUILDER.NUMBER.STEP`. Each line has the time before it.
///
/// The journal is written before the output, so that the output is never ahead.
const STEP: &str = r#"#!/bin/sh
# BUILDER NUMBER STEP LINES SECONDS
file=%SITE%/journal/$1.$2.$3
echo "$(date +%s.%N) start $$" >> $file
i=0
while [ $i -lt $4 ]; do
  i=$((i + 1))
  echo "$(date +%s.%N) o line $i of $1 $2 $3" >> $file
  echo "line $i of $1 $2 $3"
  if [ $((i % 3)) = 0 ]; then
    echo "$(date +%s.%N) e error $i" >> $file
    echo "error $i" >&2
  fi
  sleep $5
done
echo "$(date +%s.%N) end" >> $file
"#;

const CONFIG: &str = r#"
import os

from buildbot.plugins import changes, schedulers, steps, util, worker

c = BuildmasterConfig = {}
c["db"] = {"db_url": f"postgresql://bb@{os.environ['TORTURE_DATABASE']}/buildbot"}
c["mq"] = {"type": "wamp", "router_url": "ws://%ROUTER%/ws"}
c["multiMaster"] = True
c["protocols"] = {
    "session": {"port": f"tcp:{os.environ['TORTURE_SESSIONS']}:interface={os.environ['TORTURE_ADDRESS']}"},
    "pb": {"port": f"tcp:{os.environ['TORTURE_PB']}:interface={os.environ['TORTURE_ADDRESS']}"},
}
c["www"] = {"port": f"tcp:{os.environ['TORTURE_WEB']}:interface={os.environ['TORTURE_ADDRESS']}"}
c["buildbotURL"] = "http://muster.example/"
c["collapseRequests"] = False
own = [f"own{number}" for number in range(%OWN%)]
stock = [f"stock{number}" for number in range(%STOCK%)]
c["workers"] = [worker.Worker(name, "%PASSWORD%", max_builds=%BUILDS%) for name in own + stock]
c["builders"] = []
c["schedulers"] = []


def builder(name, *given, workers, **more):
    factory = util.BuildFactory(list(given))
    c["builders"].append(util.BuilderConfig(name=name, workernames=workers, factory=factory, **more))
    c["schedulers"].append(schedulers.ForceScheduler(name="force-" + name, builderNames=[name]))

"#;

/// What the torture builds: on each kind of worker, with locks, and by commits.
pub const TORTURE: &str = r#"
counted = util.MasterLock("counted", maxCount=%COUNTED%)
alone = util.MasterLock("alone")


def lines(name, **more):
    command = ["sh", "%SITE%/step.sh", util.Interpolate("%(prop:buildername)s"),
               util.Interpolate("%(prop:buildnumber)s"), name, "%LINES%", "0.2"]
    return steps.ShellCommand(command=command, name=name, **more)


builder("plain", lines("one"), lines("two"), workers=own)
builder("stock", lines("one"), lines("two"), workers=stock)
builder("locked", lines("counted", locks=[counted.access("counting")]),
        lines("alone", locks=[alone.access("exclusive")]), workers=own)
builder("commits", lines("one"), workers=own)
c["schedulers"].append(
    schedulers.SingleBranchScheduler(
        name="on-commit", change_filter=util.ChangeFilter(branch="main"), treeStableTimer=None,
        builderNames=["commits"],
    )
)
c["change_source"] = [
    changes.PBChangeSource(),
    changes.GitPoller("%SITE%/repository", branches=["main"], pollInterval=2, pollAtLaunch=True),
]
"#;

/// What a configuration is about.
pub struct Facts<'a> {
    /// Where everything lies.
    pub site: &'a Site,
    /// The router.
    pub router: SocketAddr,
    /// Muster's own workers.
    pub own: usize,
    /// Stock workers.
    pub stock: usize,
    /// Builds at a time on each worker.
    pub max_builds: usize,
    /// Builders and schedulers, after the common part.
    pub builders: &'a str,
}

impl Facts<'_> {
    /// Writes the step's script; answers the text of `master.cfg`.
    pub fn write(&self) -> String {
        let fill = |text: &str| {
            let facts = [
                ("%SITE%", self.site.path("").to_str().unwrap().trim_end_matches('/').to_owned()),
                ("%ROUTER%", self.router.to_string()),
                ("%PASSWORD%", PASSWORD.to_owned()),
                ("%OWN%", self.own.to_string()),
                ("%STOCK%", self.stock.to_string()),
                ("%COUNTED%", COUNTED.to_string()),
                ("%BUILDS%", self.max_builds.to_string()),
                ("%LINES%", LINES.to_string()),
            ];
            facts.iter().fold(text.to_owned(), |text, (name, fact)| text.replace(name, fact))
        };
        std::fs::create_dir(self.site.path("journal")).unwrap();
        self.site.write("step.sh", &fill(STEP));
        fill(CONFIG) + &fill(self.builders)
    }
}
