//! Configurations that can't be used: one message that says where and what, and nothing is harmed.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use muster_tests::process::{self, Ended};
use muster_tests::{Master, Results, Site, binary, git::Repository};
use serde_json::json;

const GOOD: &str = "builder(\"good\", sh(\"true\"))\n";

/// What `checkconfig` says about a configuration that ends with `config`, and what a start says: the same.
fn refused(config: &str) -> String {
    let site = Site::new();
    let mut master = Master::new(&site, config);
    let checked = master.run("checkconfig");
    assert!(!checked.status.success(), "{}", checked.said);
    master.launch();
    assert!(!master.process().wait().success());
    let said = master.process().said();
    assert!(said.contains("BuildMaster startup failed"), "{said}");
    for line in checked.said.lines().filter(|line| line.contains("master.cfg:")) {
        // Each says where it shows the traceback.
        let line = line.trim().replace("traceback above", "traceback in logfile");
        assert!(said.contains(&line), "checkconfig says {line}, the master only\n{said}");
    }
    // It harmed nothing: mended, the same directory works.
    master.configure(GOOD);
    builds(&site, &mut master);
    checked.said
}

/// Starts the master, builds once and stops it.
fn builds(site: &Site, master: &mut Master) {
    let rest = master.start();
    let _worker = master.start_worker(site);
    let request = rest.force("good", json!({}));
    rest.built(request, Results::Success);
    assert!(master.stop().success());
}

#[track_caller]
fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_good_configuration_is_called_good() {
    let site = Site::new();
    let master = Master::new(&site, GOOD);
    let checked = master.run("checkconfig");
    assert!(checked.status.success(), "{}", checked.said);
    assert_says(&checked.said, &["Config file is good!"]);
}

#[test]
fn mistakes_in_steps_are_told_all_at_once() {
    let said = refused(
        "more = steps.ShelCommand(command='x')\n\
         builder('b',\n\
         steps.SetProperty(proprty='x', value=1),\n\
         steps.ShellCommand(command=3),\n\
         steps.Git('/r', brnch='x'),\n\
         steps.CMake(definitions={'A': 1}, options=['x', 4]),\n\
         steps.ShellSequence(commands=[util.ShellArg(command={'a': 1})]))\n",
    );
    let line = |number| Master::line_of_own(number).to_string();
    for (number, words) in [
        (1, "Unknown component name: ShelCommand; did you mean ShellCommand?"),
        (
            3,
            "SetProperty: missing a required argument: 'property' (there is 'proprty'); did you mean property?",
        ),
        (4, "builder 'b': ShellCommand argument command must be a text or a list, not 3"),
        (5, "unexpected keyword argument(s) ['brnch']; did you mean branch?"),
        (6, "builder 'b': CMake argument options must be a text or a list of texts, not ['x', 4]"),
        (7, "builder 'b': {'a': 1} is an invalid command, it must be a text or a list of texts"),
    ] {
        let place = format!("master.cfg:{})", line(number));
        let told = said.lines().any(|told| told.contains(words) && told.ends_with(&place));
        assert!(told, "{words:?} at line {number} is missing in\n{said}");
    }
}

#[test]
fn a_syntax_error_has_its_line() {
    let said = refused("x = 1\ny = = 2\n");
    assert_says(&said, &["master.cfg", &Master::line_of_own(2).to_string()]);
}

#[test]
fn an_exception_has_its_line() {
    let said = refused("\nc['title'] = undefined_name\n");
    assert_says(&said, &["undefined_name", &format!("master.cfg:{}", Master::line_of_own(2))]);
}

#[test]
fn an_unknown_key_is_named() {
    assert_says(&refused("c['nonsense'] = 1\n"), &["nonsense"]);
}

#[test]
fn all_errors_are_told_at_once() {
    let config = "c['nonsense'] = 1\nbuilder('b', sh('true'), workers=['nobody'])\nc['title'] = 7\n";
    assert_says(&refused(config), &["nonsense", "nobody", "title"]);
}

#[test]
fn a_builder_with_an_unknown_worker_is_named() {
    assert_says(&refused("builder('lonely', sh('true'), workers=['nobody'])\n"), &["lonely", "nobody"]);
}

#[test]
fn a_scheduler_with_an_unknown_builder_is_named() {
    let config =
        "c['schedulers'].append(schedulers.ForceScheduler(name='force', builderNames=['nothing']))\n";
    assert_says(&refused(config), &["force", "nothing"]);
}

#[test]
fn a_step_that_is_not_supported_is_named() {
    assert_says(&refused("builder('b', steps.MTR(command=['true']))\n"), &["MTR"]);
}

#[test]
fn a_missing_configuration_says_what_to_do() {
    let site = Site::new();
    let master = Master::new(&site, GOOD);
    std::fs::remove_file(master.path("master.cfg")).unwrap();
    for command in ["checkconfig", "master", "upgrade-master"] {
        let ended = master.run(command);
        assert!(!ended.status.success());
        assert_says(&ended.said, &["master.cfg", "does not exist"]);
    }
}

/// Runs a master with a search path of its own.
fn start_with_path(site: &Site, master: &Master, path: &str) -> Ended {
    let mut command = binary::command(&["master", master.dir()]);
    process::run(command.env("PATH", path), &site.path("search-path.log"))
}

#[test]
fn a_missing_python_says_what_to_install() {
    let site = Site::new();
    let mut master = Master::new(&site, GOOD);
    let empty = site.path("bin");
    std::fs::create_dir(&empty).unwrap();
    let ended = start_with_path(&site, &master, empty.to_str().unwrap());
    assert!(!ended.status.success());
    assert_says(&ended.said, &["python3", "Install", "MUSTER_PYTHON"]);
    builds(&site, &mut master);
}

#[test]
fn an_old_python_is_named_with_what_is_needed() {
    let site = Site::new();
    let mut master = Master::new(&site, GOOD);
    fake_python(&site, "3.6.8");
    let path = format!("{}:/usr/bin:/bin", site.path("bin").display());
    let ended = start_with_path(&site, &master, &path);
    assert!(!ended.status.success());
    assert_says(&ended.said, &["3.6", "3.9"]);
    builds(&site, &mut master);
}

/// A `python3` that runs the real one and makes it say that it is older.
fn fake_python(site: &Site, version: &str) -> PathBuf {
    let real = process::run(
        std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]),
        &site.path("real-python.log"),
    );
    let numbers = version.replace('.', ", ");
    let custom = format!(
        "import sys\nsys.version_info = ({numbers}, 'final', 0)\nsys.hexversion = 0x030608f0\nsys.version = '{version}'\n"
    );
    let bin = site.path("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("sitecustomize.py"), custom).unwrap();
    let fake = bin.join("python3");
    let script = format!("#!/bin/sh\nPYTHONPATH={} exec {} \"$@\"\n", bin.display(), real.said.trim());
    std::fs::write(&fake, script).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    fake
}

#[test]
fn a_configuration_that_takes_the_interpreter_down_is_survived() {
    let said = refused("import os; os._exit(3)\n");
    assert!(!said.trim().is_empty());
}

#[test]
fn a_repository_that_is_not_there_stops_nothing() {
    let site = Site::new();
    let repository = Repository::create(&site.path("repository"));
    std::fs::remove_dir_all(repository.path()).unwrap();
    let config = format!(
        "{GOOD}\nc['change_source'] = changes.GitPoller(repourl=SITE + '/repository', branch='main', pollInterval=1)\n"
    );
    let mut master = Master::new(&site, &config);
    builds(&site, &mut master);
}
