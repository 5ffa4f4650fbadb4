//! Real configurations in temporary directories, evaluated by a real interpreter.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_config::argument::{self, BuildView, Reference};
use muster_config::snapshot::{Condition, GitBranches, SchedulerKind, Snapshot, StepConfig};
use muster_config::{Check, ConfigError, ConfigErrors, Host, HostError, LOAD_LIMIT, Loaded, evaluate};
use muster_core::Properties;
use muster_core::render::{Callable, Renderable};
use serde_json::{Map, json};
use tempfile::TempDir;

/// Enough for a slow machine; a test that gets here has failed.
const LIMIT: Duration = Duration::from_secs(30);

fn python() -> PathBuf {
    muster_config::python::find(std::env::var_os("PATH").as_ref())
}

/// A small good configuration with `more` at its end.
fn config(more: &str) -> String {
    format!(
        r#"from buildbot.plugins import changes, schedulers, steps, util, worker
c = BuildmasterConfig = {{}}
c['protocols'] = {{'session': {{'port': 9990}}}}
c['workers'] = [worker.Worker('w1', util.Secret('w1-password'), max_builds=2)]
factory = util.BuildFactory([steps.Git('git://x/y', mode='incremental')])
c['builders'] = [util.BuilderConfig(name='b', workernames=['w1'], factory=factory)]
c['schedulers'] = [schedulers.SingleBranchScheduler(
    name='main', change_filter=util.ChangeFilter(branch='main'), builderNames=['b'])]
{more}
"#
    )
}

fn directory(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("master.cfg"), text).unwrap();
    directory
}

async fn load(text: &str) -> Result<Loaded, HostError> {
    let directory = directory(text);
    evaluated(&python(), directory.path()).await
}

async fn evaluated(python: &Path, directory: &Path) -> Result<Loaded, HostError> {
    evaluate(python, directory, "master.cfg", Check::none(), LIMIT).await
}

async fn good(text: &str) -> Snapshot {
    let loaded = load(text).await.unwrap_or_else(|error| panic!("{error}"));
    Snapshot::clone(&loaded.snapshot)
}

async fn bad(text: &str) -> ConfigErrors {
    match load(text).await {
        Err(HostError::Config(errors)) => errors,
        other => panic!("expected configuration errors, not {other:?}"),
    }
}

fn texts(errors: &ConfigErrors) -> Vec<&str> {
    errors.0.iter().map(|error| error.text.as_str()).collect()
}

/// A host with its driver running in the background.
async fn running(directory: &Path) -> (Host, Loaded) {
    let (host, driver) = Host::new(&python(), directory);
    tokio::spawn(driver.run());
    let loaded = host.load("master.cfg").await.unwrap_or_else(|error| panic!("{error}"));
    (host, loaded)
}

/// The function behind an argument of the first builder's last step.
fn last_step_callable(loaded: &Loaded, name: &str) -> Callable {
    let step = loaded.snapshot.builders[0].factory.steps.last().unwrap();
    let Renderable::Callable { callable, .. } = &step.args[name] else { panic!("{name} is no function") };
    callable.clone()
}

#[tokio::test]
async fn a_good_configuration_becomes_a_snapshot() {
    let snapshot = good(&config(
        r#"
factory.addStep(steps.ShellCommand(
    command=['make', util.Interpolate('%(prop:target:-all)s')], doStepIf=lambda step: True, haltOnFailure=True))
factory.addStep(steps.SetPropertyFromCommand(command='git describe', property='version'))
factory.addStep(steps.FileUpload(workersrc='a', masterdest=util.Property('dest')))
c['change_source'] = changes.GitPoller('git://x/y', branches=['main', 'dev'], pollInterval=5)
c['schedulers'] += [
    schedulers.ForceScheduler(name='force', builderNames=['b'], properties=[util.StringParameter(name='target')]),
    schedulers.Nightly(name='nightly', builderNames=['b'], hour=[1, 13], minute='*/10'),
    schedulers.Periodic(name='often', builderNames=['b'], periodicBuildTimer=60),
    schedulers.Triggerable(name='on-demand', builderNames=['b'])]
c['www'] = {'port': 'tcp:8010:interface=127.0.0.1'}
c['buildbotURL'] = 'http://ci.example.org'
"#,
    ))
    .await;
    assert_eq!(snapshot.buildbot_url, "http://ci.example.org/");
    assert_eq!(snapshot.protocols["session"].port.as_deref(), Some("9990"));
    assert_eq!(snapshot.www.port.as_deref(), Some("tcp:8010:interface=127.0.0.1"));
    assert_eq!(snapshot.workers[0].password, Some(Renderable::Secret("w1-password".into())));
    let steps = &snapshot.builders[0].factory.steps;
    let kinds: Vec<&str> = steps.iter().map(|step| step.kind.as_str()).collect();
    assert_eq!(kinds, ["Git", "ShellCommand", "SetPropertyFromCommand", "FileUpload"]);
    assert!(steps[1].flags.halt_on_failure);
    assert!(matches!(steps[1].do_step_if, Condition::Callable(_)));
    assert!(matches!(steps[1].args["command"], Renderable::List(_)));
    assert_eq!(steps[1].source.line, 10);
    let source = &snapshot.change_sources[0].kind;
    let muster_config::snapshot::ChangeSourceKind::GitPoller(poller) = source else {
        panic!("{source:?} is no GitPoller")
    };
    assert_eq!(poller.branches, GitBranches::Names(vec!["main".into(), "dev".into()]));
    let SchedulerKind::Force(form) = &snapshot.scheduler("force").unwrap().kind else { panic!("no form") };
    assert_eq!(form.fields[2].full_name.as_deref(), Some("target"));
    assert!(snapshot.has_callables);
}

#[tokio::test]
async fn the_same_file_gives_the_same_digest() {
    let directory = directory(&config("c['properties'] = {str(x): x for x in {'a', 'b', 'c'}}"));
    let first = evaluated(&python(), directory.path()).await.unwrap();
    let second = evaluated(&python(), directory.path()).await.unwrap();
    assert_eq!(first.digest, second.digest);
}

#[tokio::test]
async fn errors_come_together_in_the_order_of_discovery() {
    let errors = bad(&config(
        r#"
steps.ShellCommand(command=['x'], haltOnFailure='yes')
steps.Git()
c['foo'] = 1
c['title'] = 7
c['builders'].append(util.BuilderConfig(name='b2', workernames=['w2'], factory=factory))
"#,
    ))
    .await;
    assert_eq!(
        texts(&errors),
        [
            "ShellCommand argument haltOnFailure must be an instance of bool",
            "Git: must provide repourl.",
            "Unknown BuildmasterConfig key foo",
            "c['title'] must be a string",
            "builder(s) b2 have no schedulers to drive them",
            "builder 'b2' uses unknown workers 'w2'",
        ]
    );
    assert_eq!(errors.0[0].source.line, 10);
    assert_eq!(errors.0[5].source.line, 14);
    let shown = errors.to_string();
    assert!(shown.starts_with("Configuration Errors:\n  ShellCommand argument haltOnFailure"), "{shown}");
    assert!(shown.contains("master.cfg:10)\n  Git: must provide repourl."), "{shown}");
}

#[tokio::test]
async fn a_syntax_error_says_where() {
    let errors = bad("c = BuildmasterConfig = {}\nc['workers'] = [\n").await;
    assert_eq!(errors.0.len(), 1);
    assert!(errors.0[0].text.starts_with("encountered a SyntaxError while parsing config file:"));
    assert!(errors.0[0].source.file.ends_with("master.cfg"));
}

#[tokio::test]
async fn an_exception_ends_the_load_after_what_was_found() {
    let errors = bad(&config("steps.Git()\nraise ValueError('no way')")).await;
    assert_eq!(
        texts(&errors),
        ["Git: must provide repourl.", "error while parsing config file: no way (traceback in logfile)"]
    );
}

#[tokio::test]
async fn what_a_check_finds_is_told_with_the_rest() {
    let directory = directory(&config("c['title'] = 3"));
    let check = Check::new(|_| Err(ConfigErrors::one("and this")));
    let found = evaluate(&python(), directory.path(), "master.cfg", check, LIMIT).await;
    let Err(HostError::Config(errors)) = found else { panic!("{found:?}") };
    assert_eq!(texts(&errors), ["c['title'] must be a string", "and this"]);
}

/// Holds Python's lock for longer than anybody waits.
const HANGING: &str = "import re\nopen('begun', 'w').close()\nre.match('(a+)+$', 'a' * 60 + 'b')\n";

#[tokio::test]
async fn a_load_that_hangs_is_ended_and_says_where_it_was() {
    let directory = directory(&config(HANGING));
    let limit = Duration::from_secs(3);
    let error = evaluate(&python(), directory.path(), "master.cfg", Check::none(), limit).await.unwrap_err();
    assert!(matches!(error, HostError::LoadTooLong { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("took longer than 3 s") && text.contains("MUSTER_LOAD_LIMIT"), "{text}");
    assert!(text.contains("master.cfg\", line 11"), "{text}");
}

#[tokio::test]
async fn a_hung_load_that_nobody_waits_for_gives_way() {
    let directory = directory(&config(HANGING));
    let (host, driver) = Host::new(&python(), directory.path());
    tokio::spawn(driver.run());
    let hung = tokio::spawn({
        let host = host.clone();
        async move { host.load("master.cfg").await.map(drop) }
    });
    tokio::time::timeout(LIMIT, async {
        while !directory.path().join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert!(matches!(host.load("other.cfg").await, Err(HostError::Busy)));
    hung.abort();
    assert!(hung.await.is_err());
    std::fs::write(directory.path().join("good.cfg"), config("")).unwrap();
    tokio::time::timeout(LIMIT, host.load("good.cfg")).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_file_without_the_dictionary_is_refused() {
    assert_eq!(
        texts(&bad("c = {}").await),
        ["Configuration file 'master.cfg' does not define 'BuildmasterConfig'"]
    );
}

#[tokio::test]
async fn what_is_not_supported_is_named_and_does_not_hide_the_rest() {
    let errors = bad(&config(
        r#"
from buildbot.reporters.zulip import ZulipStatusPush
c['services'] = [ZulipStatusPush('https://z', 't'), reporters.GitHubStatusPush(token='x')]
c['schedulers'].append(schedulers.Dependent('d', upstream=None, builderNames=['b']))
class Custom(steps.BuildStep):
    def run(self):
        return util.SUCCESS
    def acquireLocks(self, res=None):
        return None
factory.addStep(Custom())
"#,
    )
    .replace("import changes,", "import changes, reporters,"))
    .await;
    assert_eq!(
        texts(&errors),
        [
            "not provided by Muster: buildbot.reporters.zulip.ZulipStatusPush",
            "not provided by Muster: reporters.GitHubStatusPush",
            "not provided by Muster: schedulers.Dependent",
            "step class Custom defines acquireLocks(), which is not supported by Muster yet",
        ]
    );
    // Where the method stands.
    assert_eq!(errors.0[3].source.line, 16);
}

#[tokio::test]
async fn missing_files_and_directories_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = evaluated(&python(), directory.path()).await.unwrap_err();
    assert!(error.to_string().contains("master.cfg' does not exist"), "{error}");
    let error = evaluated(&python(), &directory.path().join("nowhere")).await.unwrap_err();
    assert!(error.to_string().contains("base directory"), "{error}");
}

#[tokio::test]
async fn a_missing_interpreter_is_named() {
    let directory = directory(&config(""));
    let error = evaluated(Path::new("/nowhere/python3"), directory.path()).await.unwrap_err();
    assert!(matches!(error, HostError::PythonMissing(_)), "{error}");
}

#[tokio::test]
async fn an_old_interpreter_is_refused() {
    let directory = directory(&config(""));
    let old = directory.path().join("python3");
    let greeting = r#"{"hello": {"protocol": 1, "python": "3.6.8"}}"#;
    write_program(&old, &format!("#!/bin/sh\necho '{greeting}'\n"));
    let error = evaluated(&old, directory.path()).await.unwrap_err();
    assert!(matches!(&error, HostError::PythonTooOld { version, .. } if version == "3.6.8"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_no_python_is_refused() {
    let directory = directory(&config(""));
    let other = directory.path().join("python3");
    write_program(&other, "#!/bin/sh\necho broken >&2\nexit 3\n");
    let error = evaluated(&other, directory.path()).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("broken"), "{error}");
}

fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

const FUNCTIONS: &str = r#"
import ctypes, os, time
@util.renderer
def target(props, suffix):
    print('printing disturbs nobody')
    return props.getProperty('target', 'all') + suffix

@util.renderer
async def later(props):
    return util.Interpolate('%(prop:target)s')

def extract(rc, out, err):
    if out == 'die':
        ctypes.string_at(0)
    if out == 'exit':
        os._exit(9)
    if out == 'late':
        time.sleep(0.3)
    if out == 'surrogate':
        return os.fsdecode(b'caf\xe9')
    if out == 'huge':
        return 'x' * (17 << 20)
    if out == 'same':
        return [err, err == os.fsdecode(b'caf\xe9')]
    if out == 'sleep':
        time.sleep(60)
    if out == 'raise':
        raise ValueError('not this one')
    return {'rc': rc, 'lines': out.splitlines()}

def choose(builder, workers, request):
    return [w for w in workers if w.worker.info['system'] == 'posix'][0]

c['builders'][0].nextWorker = choose
factory.addStep(steps.ShellCommand(command=['make', target.withArgs('-x'), later]))
factory.addStep(steps.SetPropertyFromCommand(command='x', extract_fn=extract))
"#;

#[tokio::test]
async fn functions_are_called_with_the_objects_they_expect() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    let extract = last_step_callable(&loaded, "extract_fn");
    let args = vec![json!(0), json!("a\nb"), json!("")];
    let value = host.call(&extract, args, Map::new(), LIMIT).await.unwrap();
    assert_eq!(value, Renderable::Literal(json!({"rc": 0, "lines": ["a", "b"]})));

    let next_worker = loaded.snapshot.builders[0].next_worker.clone().unwrap();
    let worker = |id, name: &str, system: &str| {
        let info = Map::from_iter([("system".to_owned(), json!(system))]);
        argument::worker_for_builder(id, name, &Properties::new(), &info)
    };
    let workers = vec![worker(1, "w1", "nt"), worker(2, "w2", "posix")];
    let args =
        vec![argument::builder(7, "b", workers.clone()), json!(workers), argument::request(Map::new())];
    let chosen = host.call(&next_worker, args, Map::new(), LIMIT).await.unwrap();
    assert_eq!(Reference::from_result(&chosen), Some(Reference { kind: "worker_for_builder".into(), id: 2 }));
}

#[tokio::test]
async fn renderers_get_the_properties_and_may_return_renderables() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    let Renderable::List(command) = &loaded.snapshot.builders[0].factory.steps[1].args["command"] else {
        panic!("no list");
    };
    let callable = |item: &Renderable| match item {
        Renderable::Callable { callable, .. } => callable.clone(),
        other => panic!("{other:?} is no function"),
    };
    let mut view = BuildView::default();
    view.properties.set("target", "docs", "Scheduler");
    let args = vec![argument::properties(&view), json!("-x")];
    let value = host.call(&callable(&command[1]), args, Map::new(), LIMIT).await.unwrap();
    assert_eq!(value, Renderable::Literal(json!("docs-x")));
    let args = vec![argument::properties(&view)];
    let value = host.call(&callable(&command[2]), args, Map::new(), LIMIT).await.unwrap();
    assert!(matches!(value, Renderable::Interpolate(_)));
}

#[tokio::test]
async fn exceptions_come_back_with_their_traceback() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    let extract = last_step_callable(&loaded, "extract_fn");
    let args = vec![json!(0), json!("raise"), json!("")];
    match host.call(&extract, args, Map::new(), LIMIT).await {
        Err(HostError::Call(failure)) => {
            assert_eq!(failure.to_string(), "ValueError: not this one");
            assert!(failure.traceback.contains("in extract"), "{}", failure.traceback);
        }
        other => panic!("{other:?}"),
    }
    let mut changed = extract.clone();
    changed.source.digest = "other".into();
    let error = host.call(&changed, vec![], Map::new(), LIMIT).await.unwrap_err();
    assert!(matches!(error, HostError::NoSuchFunction(_)), "{error}");
}

#[tokio::test]
async fn a_slow_function_delays_nobody_else() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    let extract = last_step_callable(&loaded, "extract_fn");
    let slow = host.call(
        &extract,
        vec![json!(0), json!("sleep"), json!("")],
        Map::new(),
        Duration::from_millis(300),
    );
    let quick = host.call(&extract, vec![json!(0), json!("a"), json!("")], Map::new(), LIMIT);
    let (slow, quick) = tokio::join!(slow, quick);
    assert!(matches!(slow, Err(HostError::TimedOut { .. })), "{slow:?}");
    assert!(quick.is_ok(), "{quick:?}");
}

#[tokio::test]
async fn a_dead_host_is_replaced_and_the_killer_is_told() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    let extract = last_step_callable(&loaded, "extract_fn");
    let died = host.call(&extract, vec![json!(0), json!("die"), json!("")], Map::new(), LIMIT).await;
    assert!(matches!(died, Err(HostError::Ended { .. })), "{died:?}");
    assert!(died.unwrap_err().to_string().contains("extract_fn ended the Python host"));
    let value = host.call(&extract, vec![json!(0), json!("a"), json!("")], Map::new(), LIMIT).await.unwrap();
    assert_eq!(value, Renderable::Literal(json!({"rc": 0, "lines": ["a"]})));
}

#[tokio::test]
async fn who_ended_the_host_fails_and_its_neighbours_are_answered() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    let extract = last_step_callable(&loaded, "extract_fn");
    let ask = |what: &'static str| {
        let (host, extract) = (host.clone(), extract.clone());
        async move { host.call(&extract, vec![json!(0), json!(what), json!("")], Map::new(), LIMIT).await }
    };
    let (a, died, b, c) = tokio::join!(ask("late"), ask("die"), ask("late"), ask("late"));
    assert!(matches!(died, Err(HostError::Ended { .. })), "{died:?}");
    for answer in [a, b, c] {
        assert!(answer.is_ok(), "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_the_error_of_its_question() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    let extract = last_step_callable(&loaded, "extract_fn");
    let ask = |what: &'static str| {
        let (host, extract) = (host.clone(), extract.clone());
        async move { host.call(&extract, vec![json!(0), json!(what), json!("")], Map::new(), LIMIT).await }
    };
    let (late, exit, huge) = tokio::join!(ask("late"), ask("exit"), ask("huge"));
    assert!(late.is_ok(), "{late:?}");
    for (answer, words) in [(exit, "it called os._exit()"), (huge, "are the most")] {
        let error = answer.unwrap_err();
        assert!(matches!(error, HostError::Call(_)), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_text_that_is_no_utf_8_is_carried_both_ways() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    let extract = last_step_callable(&loaded, "extract_fn");
    let ask = |out: &str, err: &str| {
        let args = vec![json!(0), json!(out), json!(err)];
        let (host, extract) = (host.clone(), extract.clone());
        async move { host.call(&extract, args, Map::new(), LIMIT).await.unwrap() }
    };
    let name = ask("surrogate", "").await;
    let text = name.literal_str().unwrap();
    assert_eq!(text, "caf\u{10dce9}");
    assert_eq!(ask("same", text).await, Renderable::Literal(json!([text, true])));
}

#[tokio::test]
async fn what_a_check_refuses_leaves_the_old_configuration_in_force() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    std::fs::write(directory.path().join("master.cfg"), config("")).unwrap();
    let refuse = Check::new(|_| Err(ConfigErrors::one("not this one")));
    assert!(matches!(host.load_checked("master.cfg", refuse).await, Err(HostError::Config(_))));
    let extract = last_step_callable(&loaded, "extract_fn");
    let value = host.call(&extract, vec![json!(0), json!("a"), json!("")], Map::new(), LIMIT).await;
    assert!(value.is_ok(), "{value:?}");
}

#[tokio::test]
async fn what_a_check_finds_in_the_rest_is_told_with_the_other_errors() {
    let more = "c['foo'] = 1\nfactory.addStep(steps.ShellCommand(command='x', timeout='soon'))\n\
                factory.addStep(steps.Sphinx())\nfactory.addStep(steps.ShellCommand(command=3))";
    let directory = directory(&config(more));
    let check = Check::new(|snapshot| {
        let steps = &snapshot.builders[0].factory.steps[1..];
        let error = |(step, name): (&StepConfig, &str)| ConfigError {
            text: format!("builder 'b': ShellCommand argument {name} must be something else"),
            source: step.source.clone(),
        };
        Err(ConfigErrors(steps.iter().zip(["timeout", "command"]).map(error).collect()))
    });
    let loaded = evaluate(&python(), directory.path(), "master.cfg", check, LOAD_LIMIT).await;
    let Err(HostError::Config(errors)) = loaded else { panic!("{loaded:?}") };
    // Python has told about the timeout.
    assert_eq!(
        texts(&errors),
        [
            "ShellCommand argument timeout must be an instance of int or float or None",
            "not provided by Muster: steps.Sphinx",
            "Unknown BuildmasterConfig key foo",
            "builder 'b': ShellCommand argument command must be something else",
        ]
    );
    assert_eq!(errors.0[3].source.line, 12);
}

#[tokio::test]
async fn a_failed_load_leaves_the_old_configuration_in_force() {
    let directory = directory(&config(FUNCTIONS));
    let (host, loaded) = running(directory.path()).await;
    std::fs::write(directory.path().join("master.cfg"), "raise ValueError").unwrap();
    assert!(matches!(host.load("master.cfg").await, Err(HostError::Config(_))));
    let extract = last_step_callable(&loaded, "extract_fn");
    let value = host.call(&extract, vec![json!(0), json!("a"), json!("")], Map::new(), LIMIT).await;
    assert!(value.is_ok(), "{value:?}");
}

#[tokio::test]
async fn secrets_come_from_the_first_provider_that_has_them() {
    let directory = directory(
        &config("c['secretsProviders'] = [secrets.SecretInAFile('secrets')]\n")
            .replace("import changes,", "import changes, secrets,"),
    );
    let secrets = directory.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("w1-password"), "sesame\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(secrets.join("w1-password"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let (host, _) = running(directory.path()).await;
    assert_eq!(host.secret("w1-password", LIMIT).await.unwrap(), Renderable::from("sesame"));
    let error = host.secret("other", LIMIT).await.unwrap_err().to_string();
    assert!(error.contains("secret key other is not found in any provider"), "{error}");
}

#[tokio::test]
async fn without_functions_no_process_stays() {
    let directory = directory(&config(""));
    let (host, loaded) = running(directory.path()).await;
    assert!(!loaded.snapshot.has_callables);
    let callable = Callable { handle: "x".into(), source: Default::default() };
    let error = host.call(&callable, vec![], Map::new(), LIMIT).await.unwrap_err().to_string();
    assert!(error.contains("has no functions"), "{error}");
}
