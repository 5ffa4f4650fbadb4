//! `muster demo`: what somebody tries first.

use std::process::Command;

use muster_tests::process::{self, Ended};
use muster_tests::{Process, Site, binary, git::Repository, http, until};
use rustix::process::Signal;

/// A repository as small as the demo's configuration can build: it runs the tests of a Python package.
fn repository(site: &Site, test: &str) -> Repository {
    let repository = Repository::create(&site.path("repository"));
    let package = "master/config/python";
    for dir in [package, "master/config/python/tests"] {
        std::fs::create_dir_all(repository.path().join(dir)).unwrap();
    }
    repository.commit(&format!("{package}/tests/__init__.py"), "", "Make a package");
    repository.commit(&format!("{package}/tests/test_small.py"), test, "Add a test");
    repository
}

fn demo(site: &Site, repository: &Repository, options: &[&str]) -> Command {
    let dir = site.path("demo");
    let mut command = binary::command(&["demo", "--dir", dir.to_str().unwrap(), "--port", "0"]);
    command.args(options).current_dir(repository.path());
    command
}

fn test_that(statement: &str) -> String {
    format!(
        "import unittest\n\n\nclass Small(unittest.TestCase):\n    def test(self):\n        {statement}\n"
    )
}

#[test]
fn the_first_build_succeeds() {
    let site = Site::new();
    let repository = repository(&site, &test_that("pass"));
    let Ended { status, said } =
        process::run(&mut demo(&site, &repository, &["--once"]), &site.path("demo.log"));
    assert!(status.success(), "{said}");
    assert!(said.contains("http://") && said.contains("/builds/1"), "the build's address is told:\n{said}");
    assert_nothing_runs(&site);
}

#[test]
fn a_failing_build_shows_its_last_lines() {
    let site = Site::new();
    let repository = repository(&site, &test_that("self.fail('on purpose')"));
    let Ended { status, said } =
        process::run(&mut demo(&site, &repository, &["--once"]), &site.path("demo.log"));
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("on purpose"), "{said}");
    assert_nothing_runs(&site);
}

#[test]
fn any_repository_can_be_built_with_a_command_of_its_own() {
    let site = Site::new();
    let repository = Repository::create(&site.path("repository"));
    repository.commit("words", "said by the command\n", "Say something");
    let mut with_command = demo(&site, &repository, &["--once", "--command", "cat words && false"]);
    let Ended { status, said } = process::run(&mut with_command, &site.path("demo.log"));
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("said by the command"), "{said}");
    let Ended { status, said } =
        process::run(&mut demo(&site, &repository, &["--once"]), &site.path("demo.log"));
    assert!(status.success(), "without one it shows the commit: {said}");
    assert_nothing_runs(&site);
}

#[test]
fn it_goes_on_until_it_is_interrupted() {
    let site = Site::new();
    let repository = repository(&site, &test_that("pass"));
    let mut running = Process::start(&mut demo(&site, &repository, &[]), &site.path("demo.log"));
    let said = running.wait_for("http://");
    let (_, rest) = said.split_once("http://").unwrap();
    let address = rest.split(['/', ' ', '\n']).next().unwrap().parse().unwrap();
    until("a page", || (http::request(address, "GET", "/", None).ok()?.status == 200).then_some(()));
    running.signal(Signal::INT);
    running.wait();
    assert_nothing_runs(&site);
}

/// Whatever it started has ended with it.
#[track_caller]
fn assert_nothing_runs(site: &Site) {
    let ours = || site.processes().next().is_none().then_some(());
    until("the end of everything that the demo started", ours);
}

#[test]
fn outside_of_a_repository_it_says_what_it_needs() {
    let site = Site::new();
    let mut command = binary::command(&["demo", "--once", "--port", "0"]);
    let ended = process::run(command.current_dir(site.path("")), &site.path("demo.log"));
    assert!(!ended.status.success());
    assert!(ended.said.contains("git"), "{}", ended.said);
}
