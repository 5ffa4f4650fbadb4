//! What a master under measurement offers, and the configuration that all of them run.

use std::collections::HashMap;
use std::time::SystemTime;

use muster_tests::Rest;

/// Workers, each of which runs one build at a time.
pub const WORKERS: usize = 32;

/// A master with its simulated workers.
pub trait Contender {
    /// Its REST interface.
    fn rest(&self) -> Rest;
    /// The master's process.
    fn process(&self) -> u32;
    /// Commands that the workers have seen to their end.
    fn commands_done(&self) -> usize;
    /// When the command with each token reached its worker.
    fn starts(&mut self) -> HashMap<String, SystemTime>;
}

/// One builder for each question, all on all workers. Both masters read the same text but for the line about their port.
pub fn configuration(protocols: &str, web: u16) -> String {
    format!(
        r#"
from buildbot.plugins import schedulers, steps, util, worker

c = BuildmasterConfig = {{}}
c["protocols"] = {protocols}
c["www"] = {{"port": "tcp:{web}:interface=127.0.0.1", "plugins": {{}}}}
c["buildbotURL"] = "http://127.0.0.1:{web}/"
c["buildbotNetUsageData"] = None
c["collapseRequests"] = False
names = [f"w{{number}}" for number in range({WORKERS})]
c["workers"] = [worker.Worker(name, "pw", max_builds=1) for name in names]
commands = {{"dispatch": ["true"], "log": ["log"], "latency": ["true", util.Interpolate("tok=%(prop:token)s")]}}
c["builders"] = [
    util.BuilderConfig(name=name, workernames=names, factory=util.BuildFactory([steps.ShellCommand(command=command)]))
    for name, command in commands.items()
]
c["schedulers"] = [
    schedulers.ForceScheduler(
        name="force-" + name,
        builderNames=[name],
        properties=[util.StringParameter(name="token", default="")],
    )
    for name in commands
]
"#
    )
}

/// The token in a command's words.
pub fn token<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    words.into_iter().find_map(|word| word.strip_prefix("tok="))
}

/// A port of the loopback that is free now; Buildbot's workers know no other address.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until every worker is connected.
pub fn wait_for_workers(rest: Rest, workers: usize) {
    for number in 0..workers {
        rest.wait_for_worker(&format!("w{number}"));
    }
}
