//! What transfers and small steps come to.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use muster_core::Results;
use muster_session::{Command, UpdateBody};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::steps::testing::{Life, Reply, Script, World, exception, says, step};

fn always(updates: Vec<UpdateBody>) -> Script {
    Arc::new(move |_, _| Reply::Ends(updates.clone()))
}

fn chunk(text: &str) -> UpdateBody {
    UpdateBody::Chunk(text.as_bytes().to_vec())
}

#[tokio::test]
async fn an_upload_takes_its_place_when_it_is_whole() {
    let script = always(vec![chunk("one "), chunk("two"), UpdateBody::Rc(0)]);
    let world = World::new(script).await;
    let args = json!({
        "workersrc": "dist/pack.tar", "masterdest": "public/new/pack.tar", "mode": 0o644,
        "url": "http://x/pack.tar", "blocksize": 1_000_000_000,
    });
    let ended = world.run(&step("FileUpload", args)).await;
    assert_eq!(ended.results, Results::Success, "{ended:?}");
    assert_eq!(ended.urls, [("pack.tar".to_owned(), "http://x/pack.tar".to_owned())]);
    assert_eq!(ended.summary.as_deref(), Some("uploading pack.tar"));
    let path = world.path("public/new/pack.tar");
    assert_eq!(fs::read_to_string(&path).unwrap(), "one two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(world.path("public/new")).unwrap().count(), 1, "no part is left");
}

#[tokio::test]
async fn a_failed_upload_leaves_what_was_there() {
    let world = World::new(always(vec![chunk("half"), UpdateBody::Rc(1)])).await;
    fs::write(world.path("up"), "old").unwrap();
    let ended = world.run(&step("FileUpload", json!({"workersrc": "a", "masterdest": "up"}))).await;
    assert_eq!(ended.results, Results::Failure);
    assert_eq!(fs::read_to_string(world.path("up")).unwrap(), "old");
    let names: Vec<_> =
        fs::read_dir(world.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{names:?}");
}

/// Names below the master's directory that uploads made and that nobody wants.
fn rests(world: &World) -> Vec<String> {
    let names = |dir: &str| fs::read_dir(world.path(dir)).into_iter().flatten();
    let names = names(".").chain(names("uploads")).map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names
        .filter(|name| !name.starts_with("state"))
        .filter(|name| name.contains(".part") || name.contains('-'))
        .collect()
}

#[tokio::test]
async fn no_failed_upload_leaves_anything_behind() {
    let broken = || chunk("this is no archive, however long one looks at it".repeat(100).as_str());
    let lost = UpdateBody::Complete { error: Some("the worker broke".to_owned()) };
    let cases: [(&str, serde_json::Value, Vec<UpdateBody>); 6] = [
        ("FileUpload", json!({"maxsize": 5}), vec![chunk("123"), chunk("456"), UpdateBody::Rc(0)]),
        ("FileUpload", json!({}), vec![chunk("half"), UpdateBody::Rc(1)]),
        ("FileUpload", json!({}), vec![chunk("half"), lost]),
        ("DirectoryUpload", json!({}), vec![broken(), UpdateBody::Rc(0)]),
        ("DirectoryUpload", json!({"compress": "gz"}), vec![broken(), UpdateBody::Rc(0)]),
        ("DirectoryUpload", json!({"maxsize": 5}), vec![broken(), UpdateBody::Rc(0)]),
    ];
    for (kind, more, updates) in cases {
        let world = World::new(always(updates)).await;
        let mut args = json!({"workersrc": "a", "masterdest": "up"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let shown = format!("{kind} {args}");
        let ended = world.run(&step(kind, args)).await;
        assert_ne!(ended.results, Results::Success, "{shown}");
        assert_eq!(rests(&world), Vec::<String>::new(), "{shown}");
        assert!(!world.path("up").exists(), "{shown}");
    }
}

#[tokio::test]
async fn a_directory_is_kept_without_what_can_not_be_kept() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, name: &str, link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        header.set_path(name).unwrap();
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        header.set_cksum();
        archive.append(&header, std::io::empty()).unwrap();
    };
    add(tar::EntryType::Regular, "file", "");
    add(tar::EntryType::Symlink, "link", "/etc/passwd");
    add(tar::EntryType::Fifo, "pipe", "");
    let bytes = archive.into_inner().unwrap();
    let world = World::new(always(vec![UpdateBody::Chunk(bytes), UpdateBody::Rc(0)])).await;
    let ended = world.run(&step("DirectoryUpload", json!({"workersrc": "d", "masterdest": "out"}))).await;
    assert_eq!(ended.results, Results::Success, "{ended:?}");
    let said = ended.log("stdio");
    assert!(said.contains("link is left out: it is a link out of the directory, to /etc/passwd"), "{said}");
    assert!(said.contains("pipe is left out: it is a FIFO"), "{said}");
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 1);
    assert_eq!(rests(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_worker_can_not_send_more_than_the_step_allows() {
    let world = World::new(always(vec![chunk("123"), chunk("456"), UpdateBody::Rc(0)])).await;
    let ended =
        world.run(&step("FileUpload", json!({"workersrc": "a", "masterdest": "up", "maxsize": 5}))).await;
    assert!(exception(&ended).contains("largest size"), "{ended:?}");
    assert!(!world.path("up").exists());
}

#[tokio::test]
async fn an_upload_begins_anew_with_another_master() {
    let script: Script = Arc::new(|_, _| Reply::Runs(vec![chunk("first half")]));
    let mut world = World::new(script).await;
    let config = step("FileUpload", json!({"workersrc": "a", "masterdest": "up"}));
    let leaving = CancellationToken::new();
    let (life, ()) = tokio::join!(world.live(&config, None, &leaving), async {
        world.worker.stored(1).await;
        leaving.cancel();
    });
    assert!(matches!(life, Life::Over), "{life:?}");
    world.hand_over().await;
    let (ended, ()) = tokio::join!(world.run(&config), async {
        while world.worker.orders().len() < 2 {
            tokio::task::yield_now().await;
        }
        world.worker.is_running().await;
        world.worker.finish(vec![chunk(", second half"), UpdateBody::Rc(0)]);
    });
    assert_eq!(ended.results, Results::Success, "{ended:?}");
    assert_eq!(fs::read_to_string(world.path("up")).unwrap(), "first half, second half");
}

#[tokio::test]
async fn archives_that_lead_out_are_refused() {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..7].copy_from_slice(b"../evil");
    header.set_size(1);
    header.set_mode(0o644);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, b"x".as_slice()).unwrap();
    let bytes = archive.into_inner().unwrap();
    let world = World::new(always(vec![UpdateBody::Chunk(bytes), UpdateBody::Rc(0)])).await;
    let ended = world.run(&step("DirectoryUpload", json!({"workersrc": "d", "masterdest": "out"}))).await;
    assert!(exception(&ended).contains("leads out of the directory"), "{ended:?}");
    assert!(!world.path("evil").exists());
}

#[tokio::test]
async fn downloads_carry_files_texts_and_properties() {
    let (sender, received) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let script: Script = Arc::new(move |start, bytes| {
        let Command::DownloadFile(download) = &start.command else { panic!("{start:?}") };
        let content = String::from_utf8(bytes.to_vec()).unwrap();
        sender.lock().unwrap().send((download.clone(), content)).unwrap();
        Reply::Ends(vec![UpdateBody::Rc(0)])
    });
    let world = World::new(script.clone()).await;
    fs::write(world.path("file"), "x".repeat(300_000)).unwrap();
    let args = json!({"mastersrc": "file", "workerdest": "sub/there", "mode": 0o755});
    let ended = world.run(&step("FileDownload", args)).await;
    assert_eq!((ended.results, ended.summary.as_deref()), (Results::Success, Some("downloading to there")));
    let (download, content) = received.recv().unwrap();
    assert_eq!(
        (download.destination.as_str(), download.mode, content.len()),
        ("sub/there", Some(0o755), 300_000)
    );

    let world = World::new(script.clone()).await;
    world.run(&step("StringDownload", json!({"s": "a text", "workerdest": "t"}))).await;
    assert_eq!(received.recv().unwrap().1, "a text");

    let world = World::new(script).await;
    world.run(&step("JSONPropertiesDownload", json!({"workerdest": "t"}))).await;
    let told: serde_json::Value = serde_json::from_str(&received.recv().unwrap().1).unwrap();
    assert_eq!(told["properties"], json!({"branch": "main"}));
    assert_eq!(told["sourcestamps"][0]["codebase"], "");
}

#[tokio::test]
async fn a_file_that_is_not_on_the_master_is_a_failure() {
    let world = World::new(always(vec![])).await;
    let ended = world.run(&step("FileDownload", json!({"mastersrc": "none", "workerdest": "t"}))).await;
    assert_eq!(
        (ended.results, ended.log("stderr")),
        (Results::Failure, "File 'none' not available at master\n")
    );
    assert!(world.worker.orders().is_empty());
    let fifo = world.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    for special in [world.path("."), fifo, "/dev/zero".into()] {
        let world = World::new(always(vec![])).await;
        let args = json!({"mastersrc": special.to_str().unwrap(), "workerdest": "t"});
        let ended = world.run(&step("FileDownload", args)).await;
        assert_eq!(ended.results, Results::Failure, "{special:?}: {ended:?}");
        assert!(ended.log("stderr").contains("not available at master"), "{ended:?}");
        assert!(world.worker.orders().is_empty(), "{special:?}");
    }
    let world = World::new(always(vec![UpdateBody::Rc(0)])).await;
    let args = json!({"mastersrc": "/dev/null", "workerdest": "t"});
    assert_eq!(world.run(&step("FileDownload", args)).await.results, Results::Success);
}

#[tokio::test]
async fn nothing_to_upload_is_skipped() {
    let world = World::new(always(vec![UpdateBody::Files(vec![]), UpdateBody::Rc(0)])).await;
    let args = json!({"workersrcs": ["*.none"], "masterdest": "d", "glob": true});
    let ended = world.run(&step("MultipleFileUpload", args)).await;
    assert_eq!((ended.results, ended.summary.as_deref()), (Results::Skipped, Some("uploading 0 files")));
    let world = World::new(always(vec![UpdateBody::Rc(2)])).await;
    let ended = world.run(&step("MultipleFileUpload", json!({"workersrcs": ["a"], "masterdest": "d"}))).await;
    assert_eq!(
        (ended.results, ended.log("stderr")),
        (Results::Failure, "File build/a not available at worker\n")
    );
}

#[tokio::test]
async fn small_steps_say_what_they_did() {
    for (kind, args, rc, results, summary) in [
        ("MakeDirectory", json!({"dir": "d"}), 13, Results::Failure, Some("Create failed.")),
        ("MakeDirectory", json!({"dir": "d"}), 0, Results::Success, None),
        ("RemoveDirectory", json!({"dir": "d"}), 1, Results::Failure, Some("Delete failed.")),
        ("CopyDirectory", json!({"src": "a", "dest": "b"}), 0, Results::Success, Some("Copied a to b")),
        (
            "CopyDirectory",
            json!({"src": "a", "dest": "b"}),
            1,
            Results::Failure,
            Some("Copying a to b failed."),
        ),
        ("FileExists", json!({"file": "f"}), 2, Results::Failure, Some("File not found.")),
        ("Assert", json!({"check": ""}), 0, Results::Failure, None),
    ] {
        let world = World::new(always(says("", rc))).await;
        let ended = world.run(&step(kind, args)).await;
        assert_eq!((ended.results, ended.summary.as_deref()), (results, summary), "{kind}");
    }
}

#[tokio::test]
async fn values_become_properties() {
    let world = World::new(always(vec![])).await;
    let config =
        step("SetProperties", json!({"properties": {"a": 1, "b": {"$r": "property", "name": "branch"}}}));
    let ended = world.run(&config).await;
    assert_eq!((ended.property("a"), ended.property("b")), (&json!(1), &json!("main")));
    assert_eq!(ended.properties.get_with_source("a").unwrap().source(), "step");
    let world = World::new(always(vec![])).await;
    let ended = world.run(&step("LogRenderable", json!({"content": ["a", 1, null]}))).await;
    assert_eq!(ended.log("Output"), "['a', 1, None]\n");
    let world = World::new(always(says("/home/w\n", 0))).await;
    let ended = world.run(&step("SetPropertiesFromEnv", json!({"variables": "HOME"}))).await;
    assert_eq!((ended.property("HOME"), ended.log("properties")), (&json!("/home/w"), "HOME = '/home/w'\n"));
}
