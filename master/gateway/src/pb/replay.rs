//! A recorded stock worker against this side: the same questions get the same answers.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_core::{BuildId, CommandId};
use muster_session::command::{Argument, CommandLine, DownloadFile, EnvValue, Shell, UploadFile};
use muster_session::{Command, StartCommand};

use super::login::{LoggedIn, Login, Outcome};
use super::worker::PbWorker;
use crate::banana::{Decoder, Item};
use crate::jelly;
use crate::roster::{Account, StockWorker};
use crate::stock::{Answer, BuilderDir, News, Stock};
use crate::translate::stock_command;
use crate::value::Value;

const CHALLENGE: u128 = 0x8078_5fc2_164a_dc54_def8_2fd0_d2db_fb9a;

struct Piece {
    by_worker: bool,
    bytes: Vec<u8>,
}

fn recorded(name: &str) -> Vec<Piece> {
    let path = muster_golden::recorded(&format!("worker/{name}.raw.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    let piece = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = BASE64.decode(line["b64"].as_str()?).unwrap();
        Some(Piece { by_worker: line["dir"] == "client", bytes })
    };
    text.lines().filter_map(piece).collect()
}

/// A message as its name, its number, and the rest.
fn message(item: Item) -> Option<(String, i128, Vec<Item>)> {
    let Item::List(parts) = item else { return None };
    let mut parts = parts.into_iter();
    match (parts.next()?, parts.next()?) {
        (Item::Bytes(name), Item::Int(number)) => {
            Some((String::from_utf8(name).unwrap(), number, parts.collect()))
        }
        _ => None,
    }
}

/// What one side of a master said.
#[derive(Default)]
struct Said {
    answers: BTreeMap<i128, Item>,
    /// Arguments of the commands, in order.
    starts: Vec<Value>,
}

impl Said {
    fn note(&mut self, item: Item) {
        match message(item) {
            Some((name, number, mut rest)) if name == "answer" => {
                self.answers.insert(number, rest.remove(0));
            }
            Some((name, _, rest))
                if name == "message" && rest[1] == Item::Bytes(b"startCommand".to_vec()) =>
            {
                self.starts.push(jelly::decode(rest[3].clone()).unwrap());
            }
            _ => {}
        }
    }
}

fn commands() -> Vec<Command> {
    let script = "echo out-line; echo err-line 1>&2; printf \"no newline\"; printf \"%0100d\" 7 > out.bin";
    let words = ["/bin/sh", "-c", script].map(|word| Argument::Plain(word.to_owned()));
    let download = |destination: &str, mode| DownloadFile {
        workdir: "build".into(),
        destination: destination.into(),
        max_size: None,
        mode,
    };
    vec![
        Command::Shell(Shell {
            command: CommandLine::Argv(words.to_vec()),
            env: [("FOO".to_owned(), EnvValue::Set("bar".into())), ("BAZ".to_owned(), EnvValue::Remove)]
                .into(),
            timeout: Some(60.0),
            max_time: Some(120.0),
            log_environ: false,
            ..Shell::default()
        }),
        Command::DownloadFile(download("in.txt", Some(416))),
        Command::DownloadFile(download("in.bin", None)),
        Command::UploadFile(UploadFile {
            workdir: "build".into(),
            source: "out.bin".into(),
            max_size: None,
            block_size: 40,
            keep_stamp: true,
        }),
    ]
}

/// The master's part of the recorded session, with the session's orders as they would have been.
struct Master {
    worker: PbWorker,
    downloads: HashMap<u32, Vec<u8>>,
    uploaded: Vec<u8>,
    times: Option<(f64, f64)>,
    ended: Vec<CommandId>,
    fields: Vec<(String, Value)>,
    said: Said,
    decoder: Decoder,
}

impl Master {
    fn new(login: Login, who: &LoggedIn) -> Master {
        let dir = |name: &str, dir: &str| BuilderDir { name: name.into(), dir: dir.into() };
        let builders = vec![dir("b-pb", "b-pb"), dir("b-pb2", "shared-dir")];
        let mut downloads = HashMap::new();
        downloads.insert(1, "line one\nline two é\n".as_bytes().to_vec());
        downloads.insert(2, (0..100).collect());
        Master {
            worker: PbWorker::new(login, who, builders.into()).unwrap(),
            downloads,
            uploaded: Vec::new(),
            times: None,
            ended: Vec::new(),
            fields: Vec::new(),
            said: Said::default(),
            decoder: Decoder::new(1 << 20),
        }
    }

    fn start(&mut self, ordinal: u32) {
        let command = commands()[ordinal as usize].clone();
        let order = StartCommand { builddir: "b-pb".into(), command };
        let id = CommandId { build: BuildId(1), step: 0, ordinal };
        self.worker.start(id, stock_command(&order)).unwrap();
    }

    fn carry_out(&mut self) {
        while let Some(news) = self.worker.news() {
            match news {
                News::Ready { info, .. } => {
                    assert_eq!(info["version"], "4.3.0");
                    assert!(!info.contains_key("environ"), "there are secrets in it");
                    self.worker.accepted().unwrap();
                }
                News::Update { fields, ticket, .. } => {
                    self.fields.extend(fields);
                    self.worker.answer(ticket, Answer::Counted).unwrap();
                }
                News::Complete { command, error } => {
                    assert_eq!(error, None);
                    self.ended.push(command);
                }
                News::Write { bytes, ticket, .. } => {
                    self.uploaded.extend(bytes);
                    self.worker.answer(ticket, Answer::Done).unwrap();
                }
                News::Read { command, length, ticket } => {
                    let left = self.downloads.get_mut(&command.ordinal).unwrap();
                    let rest = left.split_off(length.min(left.len()));
                    let part = std::mem::replace(left, rest);
                    self.worker.answer(ticket, Answer::Bytes(part)).unwrap();
                }
                News::Times { accessed, modified, .. } => self.times = Some((accessed, modified)),
                News::Pong | News::WantsShutdown => panic!("{news:?}"),
            }
        }
        while let Some(bytes) = self.worker.output() {
            self.decoder.push(&bytes);
        }
        while let Some(item) = self.decoder.next().unwrap() {
            self.said.note(item);
        }
    }
}

fn key_of(pair: &(Value, Value)) -> String {
    pair.0.as_text().unwrap()
}

/// Object, name and arguments of a command, but for its id, and for the size of blocks, which each master chooses.
fn comparable(start: &Value) -> (Value, Value, Vec<(Value, Value)>) {
    let [object, _, name, Value::Dict(args)] = start.elements().unwrap() else { panic!("{start:?}") };
    let mut args = args.clone();
    args.iter_mut().for_each(|(_, value)| {
        if let Value::Dict(pairs) = value {
            pairs.sort_by_key(key_of);
        }
    });
    args.retain(|pair| key_of(pair) != "blocksize");
    args.sort_by_key(key_of);
    (object.clone(), name.clone(), args)
}

#[test]
fn the_recorded_worker_gets_the_recorded_answers() {
    let account = |name: &str| {
        assert_eq!(name, "w-pb");
        Some(Account::Worker(StockWorker {
            password: "pbpass".into(),
            builders: [].into(),
            keepalive: std::time::Duration::from_secs(3600),
        }))
    };
    let mut login = Some(Login::new(CHALLENGE.to_be_bytes()));
    let mut master: Option<Master> = None;
    let (mut stock, mut ours) = (Said::default(), Said::default());
    let mut stock_decoder = Decoder::new(1 << 20);
    let mut our_decoder = Decoder::new(1 << 20);
    for piece in recorded("pb-build") {
        match (&mut master, piece.by_worker) {
            (Some(master), true) => {
                master.worker.receive(&piece.bytes).unwrap();
                master.carry_out();
            }
            (None, true) => {
                let door = login.as_mut().unwrap();
                let outcome = door.receive(&piece.bytes, &account).unwrap();
                while let Some(bytes) = door.output() {
                    our_decoder.push(&bytes);
                }
                if let Outcome::In(who) = outcome {
                    let mut entered = Master::new(login.take().unwrap(), &who);
                    // What followed the log-in in the same segment.
                    entered.worker.receive(&[]).unwrap();
                    entered.carry_out();
                    master = Some(entered);
                }
            }
            (_, false) => {
                stock_decoder.push(&piece.bytes);
                let before = stock.starts.len();
                while let Some(item) = stock_decoder.next().unwrap() {
                    stock.note(item);
                }
                for ordinal in before..stock.starts.len() {
                    let master = master.as_mut().unwrap();
                    master.start(ordinal as u32);
                    master.carry_out();
                }
            }
        }
    }
    while let Some(item) = our_decoder.next().unwrap() {
        ours.note(item);
    }
    let master = master.unwrap();
    ours.answers.extend(master.said.answers);
    assert_eq!(ours.answers, stock.answers);
    assert_eq!(stock.answers.len(), 33);
    let starts: Vec<_> = master.said.starts.iter().map(comparable).collect();
    assert_eq!(starts, stock.starts.iter().map(comparable).collect::<Vec<_>>());

    assert_eq!(master.ended.len(), 4);
    assert_eq!(master.uploaded, [&[b'0'; 99][..], b"7"].concat());
    assert!(master.times.is_some());
    let said = |key: &str| master.fields.iter().filter(|(known, _)| known == key).count();
    assert_eq!((said("stdout"), said("stderr"), said("rc"), said("elapsed")), (2, 1, 4, 4));
}
