//! Every remote command, up to the limits of the protocols, as real workers carry it out. The engine is this test.

use muster_core::{BuildId, CommandId, Epoch};
use muster_session::command::{
    Argument, CommandLine, Compression, DownloadFile, EnvValue, Shell, Stream, UploadDirectory, UploadFile,
};
use muster_session::wire::MAX_BLOCK;
use muster_session::{Command, MasterEvent, StartCommand, UpdateBody};
use muster_tests::Site;
use muster_tests::stock::{Protocol, Release, StockWorker};

#[path = "../../../master/gateway/tests/common/mod.rs"]
mod common;

use common::{Port, Session};

/// Bytes of the longest string on PB.
const MAX_STRING: usize = 640 * 1024;

/// Just below what Linux takes as one argument or variable.
const MAX_ARGUMENT: usize = 131_000;

/// A worker that is attached to a gateway.
struct Ground {
    session: Session,
    commands: u32,
    protocol: Protocol,
    // The worker ends before its gateway does.
    process: StockWorker,
    _port: Port,
    _site: Site,
}

/// What a command told.
#[derive(Debug, Default)]
struct Ran {
    rc: Option<i64>,
    stdout: String,
    headers: String,
    files: Vec<String>,
    stat: Option<[i64; 10]>,
    bytes: Vec<u8>,
    modified: Option<f64>,
    error: Option<String>,
}

impl Ground {
    async fn new(release: Release, protocol: Protocol) -> Ground {
        let (mut port, site) = (Port::open(1).await, Site::new());
        let address = match protocol {
            Protocol::Pb => port.pb,
            Protocol::Msgpack => port.msgpack,
        };
        let mut worker = StockWorker::create(&site, "w0", "w0", release, protocol, address, &[]);
        worker.start();
        let session = port.sessions.recv().await.unwrap();
        Ground { session, commands: 0, protocol, process: worker, _port: port, _site: site }
    }

    fn start(&mut self, command: Command) -> CommandId {
        self.commands += 1;
        let id = CommandId { build: BuildId(1), step: 0, ordinal: self.commands };
        self.session.link.start(id, Epoch(1), StartCommand { builddir: "b".into(), command }).unwrap();
        id
    }

    async fn end(&mut self, id: CommandId) -> Ran {
        let mut ran = Ran::default();
        loop {
            let MasterEvent::Update { command, number, body } = self.session.events.next().await.unwrap()
            else {
                continue;
            };
            assert_eq!(command, id);
            self.session.link.acknowledge(id, number);
            match body {
                UpdateBody::Rc(rc) => ran.rc = Some(rc),
                UpdateBody::Stat(stat) => ran.stat = Some(stat),
                UpdateBody::Files(files) => ran.files.extend(files),
                UpdateBody::Chunk(bytes) => ran.bytes.extend(bytes),
                UpdateBody::Times { modified, .. } => ran.modified = Some(modified),
                UpdateBody::Output(outputs) => outputs.into_iter().for_each(|output| match output.stream {
                    Stream::Stdout => ran.stdout += &output.text,
                    Stream::Header => ran.headers += &output.text,
                    Stream::Stderr | Stream::Log(_) => {}
                }),
                UpdateBody::Elapsed(_) | UpdateBody::FailureReason(_) => {}
                UpdateBody::Complete { error } => {
                    ran.error = error;
                    return ran;
                }
            }
        }
    }

    /// Runs a command to an end without an error.
    async fn run(&mut self, command: Command) -> Ran {
        let what = command.name();
        let id = self.start(command);
        let ran = self.end(id).await;
        assert_eq!(ran.error, None, "{what}");
        ran
    }

    /// Runs one that has to succeed.
    async fn done(&mut self, command: Command) -> Ran {
        let what = command.name();
        let ran = self.run(command).await;
        assert_eq!(ran.rc, Some(0), "{what}: {}", ran.headers);
        ran
    }

    async fn sh(&mut self, script: &str) -> String {
        self.done(shell(script)).await.stdout
    }

    async fn names(&mut self, dir: &str) -> Vec<String> {
        let mut names = self.done(Command::Listdir { dir: dir.into() }).await.files;
        names.sort();
        names
    }

    async fn download(&mut self, destination: &str, bytes: &[u8]) {
        let id = self.start(Command::DownloadFile(DownloadFile {
            workdir: ".".into(),
            destination: destination.into(),
            max_size: None,
            mode: Some(0o640),
        }));
        let link = self.session.link.clone();
        let blocks: Vec<Vec<u8>> = bytes.chunks(MAX_BLOCK).map(<[u8]>::to_vec).collect();
        let sending = async move {
            for block in blocks {
                link.chunk(id, block, false).await.unwrap();
            }
            link.chunk(id, Vec::new(), true).await.unwrap();
        };
        let (ran, ()) = tokio::join!(self.end(id), sending);
        assert_eq!((ran.rc, ran.error), (Some(0), None));
    }
}

fn shell(script: &str) -> Command {
    Command::Shell(shell_of(&["sh", "-c", script]))
}

fn shell_of(words: &[&str]) -> Shell {
    let words = words.iter().map(|word| Argument::from(*word)).collect();
    Shell { workdir: ".".into(), command: CommandLine::Argv(words), ..Shell::default() }
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

fn removed(dirs: Vec<String>) -> Command {
    Command::Rmdir { dirs, timeout: None, max_time: None }
}

async fn carries_out_every_command(release: Release, protocol: Protocol) {
    let mut worker = Ground::new(release, protocol).await;
    handles_files(&mut worker).await;
    moves_files(&mut worker).await;
    takes_what_is_as_long_as_it_may_be(&mut worker).await;
    tells_long_things(&mut worker).await;

    let id = worker.start(shell("echo begun > begun; sleep 100"));
    while !worker.process.dir().join("b/begun").exists() {
        tokio::task::yield_now().await;
    }
    worker.session.link.interrupt(id, "enough").unwrap();
    let ran = worker.end(id).await;
    assert_eq!((ran.rc, ran.error), (Some(-1), None));
    assert!(ran.headers.contains("command interrupted"), "{}", ran.headers);
}

async fn handles_files(worker: &mut Ground) {
    worker.done(Command::Mkdir { dirs: texts(["one/deep", "two"]) }).await;
    worker.sh("printf hello > one/file").await;
    assert_eq!(worker.names("one").await, ["deep", "file"]);
    let stat = |file: &str| Command::Stat { file: file.into(), workdir: Some("one".into()) };
    assert_eq!(worker.done(stat("file")).await.stat.unwrap()[6], 5);
    assert_eq!(worker.run(stat("none")).await.rc, Some(2));
    let glob = |pattern: &str| Command::Glob { pattern: pattern.into() };
    let found = worker.done(glob("one/*")).await.files;
    assert!(found.len() == 2 && found.iter().all(|path| path.starts_with('/')), "{found:?}");
    assert_eq!(worker.done(glob("none/*")).await.files, [] as [&str; 0]);
    let copied = Command::Cpdir { from: "one".into(), to: "three".into(), timeout: None, max_time: None };
    worker.done(copied).await;
    assert_eq!(worker.names("three").await, ["deep", "file"]);
    let rmfile = || Command::Rmfile { path: "one/file".into() };
    worker.done(rmfile()).await;
    assert_eq!(worker.run(rmfile()).await.rc, Some(2), "it is gone");
    worker.done(removed(texts(["one", "two", "never there"]))).await;
    assert_eq!(worker.names(".").await, ["three"]);
}

async fn moves_files(worker: &mut Ground) {
    // More than a string of PB may have, and no whole number of blocks.
    let bytes: Vec<u8> = (0..2 * MAX_STRING + 77).map(|number| (number * number / 251) as u8).collect();
    worker.download("made/for/it", &bytes).await;
    assert_eq!(worker.sh("stat -c %a made/for/it; touch -d @1000000000 made/for/it").await, "640\n");
    let upload = UploadFile {
        workdir: "made".into(),
        source: "for/it".into(),
        max_size: None,
        block_size: u32::MAX,
        keep_stamp: true,
    };
    let ran = worker.done(Command::UploadFile(upload)).await;
    assert!(ran.bytes == bytes, "{} bytes", ran.bytes.len());
    assert_eq!(ran.modified, Some(1e9));
    for compress in [None, Some(Compression::Gz), Some(Compression::Bz2)] {
        let upload = UploadDirectory {
            workdir: ".".into(),
            source: "made".into(),
            max_size: None,
            block_size: u32::MAX,
            compress,
        };
        let packed = worker.done(Command::UploadDirectory(upload)).await.bytes;
        let magic: &[u8] = match compress {
            None => b"",
            Some(Compression::Gz) => b"\x1f\x8b",
            Some(Compression::Bz2) => b"BZh",
        };
        assert!(packed.starts_with(magic) && packed.len() > 1000, "{compress:?}: {} bytes", packed.len());
    }
}

async fn takes_what_is_as_long_as_it_may_be(worker: &mut Ground) {
    let counted = |size: usize| {
        // Bytes count, not characters.
        let stdin = "ä".repeat(size / 2) + if size % 2 == 1 { "x" } else { "" };
        Command::Shell(Shell { initial_stdin: Some(stdin), ..shell_of(&["wc", "-c"]) })
    };
    assert_eq!(worker.done(counted(MAX_STRING)).await.stdout.trim(), MAX_STRING.to_string());
    let id = worker.start(counted(MAX_STRING + 1));
    let ran = worker.end(id).await;
    match worker.protocol {
        // Only the command ends, with a word about it.
        Protocol::Pb => assert!(ran.error.as_deref().unwrap().contains("can't be sent"), "{ran:?}"),
        Protocol::Msgpack => assert_eq!(ran.stdout.trim(), (MAX_STRING + 1).to_string()),
    }

    // Each word is allowed; all together are more than a string of PB may have.
    let long = "y".repeat(MAX_ARGUMENT);
    let script = "for word; do echo ${#word}; done; echo ${#LONG}";
    let words = [&["sh", "-c", script, "sh"][..], &[long.as_str(); 6]].concat();
    let mut shell = Shell { log_environ: false, ..shell_of(&words) };
    shell.env.insert("LONG".into(), EnvValue::Set(long));
    let ran = worker.done(Command::Shell(shell)).await;
    assert_eq!(ran.stdout, format!("{MAX_ARGUMENT}\n").repeat(7));
    assert!(ran.headers.contains("yyyy"));
}

async fn tells_long_things(worker: &mut Ground) {
    let numbers: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(worker.sh("seq 1 100000").await == numbers, "each line once");
    // One line that is longer than any string on PB. Stock workers cut long lines, and lose characters where they do.
    let text = worker.sh(&format!("head -c {} /dev/zero | tr '\\0' x; echo; echo end", MAX_STRING + 1)).await;
    let line = text.strip_suffix("end\n").unwrap();
    assert!(line.bytes().all(|byte| byte == b'x' || byte == b'\n'));
    eprintln!("{} of {} characters of the long line came", line.matches('x').count(), MAX_STRING + 1);
    // A list of more bytes than a string may have, or one update of a session.
    let made = worker.sh(
        "mkdir many; cd many; n=$(printf %0200d 7); for i in $(seq 5000); do : > $i-$n; done; ls | wc -l",
    );
    assert_eq!(made.await.trim(), "5000");
    assert_eq!(worker.names("many").await.len(), 5000);
    worker.done(removed(texts(["many"]))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pb() {
    carries_out_every_command(Release::Current, Protocol::Pb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msgpack() {
    carries_out_every_command(Release::Current, Protocol::Msgpack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pb_of_3() {
    carries_out_every_command(Release::Three, Protocol::Pb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msgpack_of_3() {
    carries_out_every_command(Release::Three, Protocol::Msgpack).await;
}
