//! Files between worker and master.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use muster_session::command::{Command, Compression, DownloadFile, UpdateBody, UploadDirectory, UploadFile};

use crate::harness::{Rig, Updates};

fn upload(source: &str, max_size: Option<u64>, keep_stamp: bool) -> Command {
    let (workdir, source) = ("build".into(), source.into());
    Command::UploadFile(UploadFile { workdir, source, max_size, block_size: 4, keep_stamp })
}

fn upload_directory(source: &str, max_size: Option<u64>, compress: Option<Compression>) -> Command {
    let (workdir, source) = (".".into(), source.into());
    Command::UploadDirectory(UploadDirectory { workdir, source, max_size, block_size: 1000, compress })
}

fn download(destination: &str, max_size: Option<u64>, mode: Option<u32>) -> Command {
    Command::DownloadFile(DownloadFile {
        workdir: "build".into(),
        destination: destination.into(),
        max_size,
        mode,
    })
}

async fn send(rig: &mut Rig, command: Command, blocks: &[&[u8]]) -> Updates {
    let id = rig.session.begin(command);
    let link = rig.session.link.clone();
    let feed = async {
        for (index, block) in blocks.iter().enumerate() {
            // A command that has ended takes no more.
            let _ = link.chunk(id, block.to_vec(), index + 1 == blocks.len()).await;
        }
    };
    let ((), updates) = tokio::join!(feed, rig.session.finish(id));
    updates
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_up_in_blocks() {
    let mut rig = Rig::start().await;
    let file = rig.build().join("lf.log");
    std::fs::create_dir_all(rig.build()).unwrap();
    std::fs::write(&file, b"l1\nl3\npart").unwrap();
    let shown = file.display();

    let updates = rig.run(upload("lf.log", None, true)).await;
    assert_eq!(updates.chunks(), [&b"l1\nl"[..], b"3\npa", b"rt"]);
    assert_eq!((updates.rc(), updates.header()), (Some(0), format!("sending {shown}\n")));
    assert!(
        updates
            .0
            .iter()
            .any(|update| matches!(update, UpdateBody::Times { modified, .. } if *modified > 1e9))
    );

    let updates = rig.run(upload("lf.log", Some(5), false)).await;
    assert_eq!((updates.chunks().concat(), updates.rc()), (b"l1\nl3".to_vec(), Some(1)));
    assert_eq!(updates.stderr(), format!("Maximum filesize reached, truncating file '{shown}'\n"));

    let updates = rig.run(upload("nope", None, true)).await;
    assert_eq!((updates.rc(), updates.error()), (Some(1), None));
    assert!(updates.stderr().starts_with("Cannot open file '"), "{}", updates.stderr());
    assert!(updates.stderr().contains("nope' for upload"));
    let updates = rig.run(upload(".", None, true)).await;
    assert_eq!(updates.rc(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_goes_up_whole() {
    let mut rig = Rig::start().await;
    let content: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::create_dir_all(rig.build()).unwrap();
    std::fs::write(rig.build().join("big"), &content).unwrap();
    let (workdir, source) = ("build".into(), "big".into());
    let args = UploadFile { workdir, source, max_size: None, block_size: 16 << 20, keep_stamp: false };
    let updates = rig.run(Command::UploadFile(args)).await;
    assert!(updates.chunks().concat() == content);
    assert_eq!(updates.rc(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_goes_up_as_a_tar_stream() {
    let mut rig = Rig::start().await;
    std::fs::create_dir_all(rig.build().join("sub")).unwrap();
    std::fs::write(rig.build().join("sub/file"), b"x".repeat(5000)).unwrap();
    let updates = rig.run(upload_directory("build", None, Some(Compression::Gz))).await;
    assert_eq!(updates.rc(), Some(0));
    let out = tempfile::tempdir().unwrap();
    let packed = updates.chunks().concat();
    tar::Archive::new(flate2::read::GzDecoder::new(&packed[..])).unpack(out.path()).unwrap();
    assert_eq!(std::fs::read(out.path().join("sub/file")).unwrap(), b"x".repeat(5000));

    let updates = rig.run(upload_directory("build", Some(1500), None)).await;
    assert_eq!((updates.chunks().concat().len(), updates.rc()), (1500, Some(1)));
    let updates = rig.run(upload_directory("nope", None, None)).await;
    assert_eq!((updates.rc(), updates.chunks().len()), (Some(1), 0));
    assert!(updates.stderr().starts_with("Cannot read directory '"), "{}", updates.stderr());
    let updates = rig.run(upload_directory("build", None, Some(Compression::Bz2))).await;
    assert_eq!(updates.rc(), Some(1));
    assert!(updates.stderr().contains("gz"), "{}", updates.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_down_whole_with_its_mode() {
    let mut rig = Rig::start().await;
    let updates = send(&mut rig, download("dl/x", None, Some(0o640)), &[b"abc", b"def", b""]).await;
    assert_eq!((updates.rc(), updates.error()), (Some(0), None));
    let path = rig.build().join("dl/x");
    assert_eq!(std::fs::read(&path).unwrap(), b"abcdef");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);

    // A new content keeps the old mode.
    let updates = send(&mut rig, download("dl/x", None, None), &[b"new"]).await;
    assert_eq!(updates.rc(), Some(0));
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);

    let updates = send(&mut rig, download("dl/y", Some(4), None), &[b"abc", b"def", b""]).await;
    assert_eq!(updates.rc(), Some(1));
    assert!(updates.stderr().starts_with("Maximum filesize reached"), "{}", updates.stderr());
    assert_eq!(std::fs::read(rig.build().join("dl/y")).unwrap(), b"abcd");

    let updates = send(&mut rig, download("dl", None, None), &[b"abc"]).await;
    assert_eq!(updates.rc(), Some(1));
    assert!(updates.stderr().contains("/dl' for download"), "{}", updates.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_comes_down_through_the_window() {
    let mut rig = Rig::start().await;
    let content: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 253) as u8).collect();
    let blocks: Vec<&[u8]> = content.chunks(400_000).collect();
    let updates = send(&mut rig, download("big", None, None), &blocks).await;
    assert_eq!(updates.rc(), Some(0));
    assert!(std::fs::read(rig.build().join("big")).unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_download_leaves_nothing_behind() {
    let mut rig = Rig::start().await;
    std::fs::create_dir_all(rig.build()).unwrap();
    std::fs::write(rig.build().join("x"), "old").unwrap();
    let id = rig.session.begin(download("x", None, None));
    rig.session.link.chunk(id, b"half".to_vec(), false).await.unwrap();
    rig.session.link.interrupt(id, "stop").unwrap();
    let updates = rig.session.finish(id).await;
    assert_eq!((updates.rc(), updates.error()), (Some(1), None));
    assert_eq!(names(&rig.build()), ["x"]);
    assert_eq!(std::fs::read(rig.build().join("x")).unwrap(), b"old");
}
