//! Unpacks a tar stream that came from a worker. Nothing in it is trusted: whatever would write or point outside of the
//! target, and whatever is neither a file, a directory nor a link, is left out or ends the unpacking.

use std::{
    cell::Cell,
    fs::{self, File, Permissions},
    io::{self, BufReader, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use tar::{Entry, EntryType};

/// Most entries of an archive; more end the unpacking. Holds the tree of a large project with its products.
const MAX_ENTRIES: usize = 2_000_000;
/// Most bytes of files, unpacked, when the step has no `maxsize`; more end the unpacking. A small packed stream must not
/// fill the disk.
const MAX_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Most bytes before a file's content: its names and other headers, which are read into memory.
const MAX_HEADERS: u64 = 1024 * 1024;
/// A block of a tar stream; files are filled up to it.
const BLOCK: u64 = 512;
/// Entries that were left out and are named; the others are counted.
const MAX_NAMED: usize = 20;

/// Entries that were left out, in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Skipped {
    /// The first of them.
    pub(super) named: Vec<String>,
    /// How many more there are.
    pub(super) more: usize,
}

impl Skipped {
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    fn note(&mut self, name: &Path, what: &str) {
        if self.named.len() < MAX_NAMED {
            self.named.push(format!("{} is left out: {what}", name.display()));
        } else {
            self.more += 1;
        }
    }
}

/// Gives as many bytes as are allowed at a time.
struct Metered<R> {
    stream: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowed.get();
        if allowed == 0 && !buffer.is_empty() {
            let reason = format!("the archive has headers of more than {MAX_HEADERS} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let most = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let count = self.stream.read(&mut buffer[..most])?;
        self.allowed.set(allowed - count as u64);
        Ok(count)
    }
}

/// Unpacks the tar stream in `archive` into `target`, over what is there. Files of more than `max_size` bytes together are
/// an error of the kind [`io::ErrorKind::FileTooLarge`].
pub(super) fn unpack(archive: &Path, target: &Path, gz: bool, max_size: Option<u64>) -> io::Result<Skipped> {
    fs::create_dir_all(target)?;
    let file = BufReader::new(File::open(archive)?);
    let most = max_size.unwrap_or(MAX_BYTES);
    match gz {
        true => unpack_stream(MultiGzDecoder::new(file), target, most),
        false => unpack_stream(file, target, most),
    }
}

fn unpack_stream(stream: impl Read, target: &Path, most: u64) -> io::Result<Skipped> {
    let allowed = Rc::new(Cell::new(MAX_HEADERS));
    let mut archive = tar::Archive::new(Metered { stream, allowed: allowed.clone() });
    let (mut bytes, mut count) = (0_u64, 0);
    let mut skipped = Skipped::default();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        bytes = bytes.saturating_add(entry.size());
        count += 1;
        if bytes > most {
            let reason = format!("{} and what is before it are larger than {most} bytes", name.display());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        if count > MAX_ENTRIES {
            return Err(io::Error::other(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
        allowed.set(entry.size().saturating_add(BLOCK));
        let unpacked = unpack_entry(&mut entry, &name, target);
        match unpacked
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", name.display())))?
        {
            Outcome::Done => {}
            Outcome::LeftOut(what) => skipped.note(&name, &what),
        }
        // What was not read of this entry, and then the headers of the next one.
        allowed.set(entry.size().saturating_add(BLOCK + MAX_HEADERS));
    }
    Ok(skipped)
}

/// What came of an entry.
enum Outcome {
    Done,
    /// It is nothing to be kept here; the text says what it is.
    LeftOut(String),
}

fn unpack_entry(entry: &mut Entry<'_, impl Read>, name: &Path, target: &Path) -> io::Result<Outcome> {
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader) {
        return Ok(Outcome::Done);
    }
    let Some(path) = inside(target, name)? else { return Ok(Outcome::Done) };
    let mode = entry.header().mode()? & 0o777;
    match kind {
        EntryType::Directory => make_dir(&path, mode)?,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            clear(&path)?;
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
            io::copy(entry, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode | 0o600))?;
        }
        EntryType::Symlink => {
            let Some(link) = entry.link_name()?.map(std::borrow::Cow::into_owned) else {
                return Ok(Outcome::LeftOut("it is a link to nothing".to_owned()));
            };
            if !points_inside(name, &link) {
                let what = format!("it is a link out of the directory, to {}", link.display());
                return Ok(Outcome::LeftOut(what));
            }
            clear(&path)?;
            symlink(link, &path)?;
        }
        EntryType::Link => {
            let link = entry.link_name()?.map(std::borrow::Cow::into_owned).unwrap_or_default();
            let original = inside(target, &link)?;
            let Some(original) =
                original.filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file()))
            else {
                let what = format!("it is another name of {}, which is no file here", link.display());
                return Ok(Outcome::LeftOut(what));
            };
            clear(&path)?;
            fs::hard_link(original, &path)?;
        }
        other => return Ok(Outcome::LeftOut(special(other))),
    }
    Ok(Outcome::Done)
}

fn special(kind: EntryType) -> String {
    match kind {
        EntryType::Fifo => "it is a FIFO".to_owned(),
        EntryType::Char => "it is a character device".to_owned(),
        EntryType::Block => "it is a block device".to_owned(),
        other => format!("it is neither a file, a directory nor a link ({other:?})"),
    }
}

/// Where a name of the archive lies below `target`, with the directories above it made; `None` for the target itself.
/// No link on the way is followed.
fn inside(target: &Path, name: &Path) -> io::Result<Option<PathBuf>> {
    // Stock workers give the directory itself no name, and a directory's name gets a slash.
    if name == Path::new("/") {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(unsafe_entry("a name that leads out of the directory"));
            }
        }
    }
    let Some(last) = parts.pop() else { return Ok(None) };
    let mut path = target.to_owned();
    for part in parts {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(unsafe_entry("something below what is no directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&path)?,
            Err(error) => return Err(error),
        }
    }
    path.push(last);
    Ok(Some(path))
}

/// Whether a link called `name` stays in the directory. It may go up first, but not later: what it went down through
/// before may be a link itself.
fn points_inside(name: &Path, link: &Path) -> bool {
    let normal = |component: &Component<'_>| matches!(component, Component::Normal(_));
    let depth = name.components().filter(normal).count();
    let steps: Vec<Component<'_>> = link.components().filter(|step| *step != Component::CurDir).collect();
    let ups = steps.iter().take_while(|step| **step == Component::ParentDir).count();
    ups < depth && steps[ups..].iter().all(normal)
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {}
        _ => {
            clear(path)?;
            fs::create_dir(path)?;
        }
    }
    // The master must be able to write into it, and to remove it.
    fs::set_permissions(path, Permissions::from_mode(mode | 0o700))
}

/// Removes what stands where a file or a link shall be. A directory stays, and the unpacking fails.
fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn unsafe_entry(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive holds {what}; nothing more is unpacked"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    fn entry(kind: EntryType, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_size(content.len() as u64);
        // Past the checks of the library, as an evil worker would.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        let mut archive = Builder::new(Vec::new());
        archive.append(&header, content).unwrap();
        let mut bytes = archive.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        bytes
    }

    fn try_unpack(entries: &[Vec<u8>]) -> (tempfile::TempDir, io::Result<Skipped>) {
        unpack_at_most(entries, false, None)
    }

    fn unpack_at_most(
        entries: &[Vec<u8>],
        gz: bool,
        most: Option<u64>,
    ) -> (tempfile::TempDir, io::Result<Skipped>) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = entries.concat();
        bytes.extend([0; 1024]);
        if gz {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            io::Write::write_all(&mut packer, &bytes).unwrap();
            bytes = packer.finish().unwrap();
        }
        fs::write(dir.path().join("part"), bytes).unwrap();
        let unpacked = unpack(&dir.path().join("part"), &dir.path().join("target"), gz, most);
        (dir, unpacked)
    }

    #[test]
    fn what_is_packed_small_is_no_larger_than_allowed() {
        let zeros = vec![0; 3_000_000];
        let entries =
            [entry(EntryType::Regular, "a", "", b"1234"), entry(EntryType::Regular, "b", "", &zeros)];
        let (dir, unpacked) = unpack_at_most(&entries, true, Some(3_000_003));
        assert_eq!(unpacked.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(!dir.path().join("target/b").exists());
        let (dir, unpacked) = unpack_at_most(&entries, true, Some(3_000_004));
        assert!(unpacked.unwrap().is_empty());
        assert_eq!(fs::read(dir.path().join("target/b")).unwrap(), zeros);
        // A name is read into memory.
        let long = entry(EntryType::GNULongName, "n", "", &zeros);
        let (_dir, unpacked) = unpack_at_most(&[long, entries[0].clone()], true, None);
        assert!(unpacked.unwrap_err().to_string().contains("headers"));
    }

    #[test]
    fn what_can_not_be_kept_is_left_out_with_a_word() {
        let (dir, unpacked) = try_unpack(&[
            entry(EntryType::Regular, "file", "", b"x"),
            entry(EntryType::Symlink, "d/absolute", "/etc/passwd", b""),
            entry(EntryType::Symlink, "d/outside", "../../x", b""),
            entry(EntryType::Symlink, "link", "file", b""),
            entry(EntryType::Link, "hard", "link", b""),
            entry(EntryType::Link, "gone", "d/absolute", b""),
            entry(EntryType::Fifo, "pipe", "", b""),
            entry(EntryType::Char, "null", "", b""),
            entry(EntryType::Block, "disk", "", b"content"),
            entry(EntryType::Regular, "last", "", b"y"),
        ]);
        let skipped = unpacked.unwrap();
        assert_eq!(
            skipped.named[0],
            "d/absolute is left out: it is a link out of the directory, to /etc/passwd"
        );
        for (name, what) in [
            ("d/outside", "link out"),
            ("hard", "no file"),
            ("gone", "no file"),
            ("pipe", "FIFO"),
            ("null", "character device"),
            ("disk", "block device"),
        ] {
            assert!(
                skipped.named.iter().any(|said| said.starts_with(name) && said.contains(what)),
                "{name}: {skipped:?}"
            );
            assert!(fs::symlink_metadata(dir.path().join("target").join(name)).is_err(), "{name}");
        }
        assert_eq!((skipped.named.len(), skipped.more), (7, 0));
        for name in ["file", "link", "last"] {
            assert!(dir.path().join("target").join(name).exists(), "{name}");
        }
        let many: Vec<Vec<u8>> = (0..50).map(|n| entry(EntryType::Fifo, &format!("f{n}"), "", b"")).collect();
        let skipped = try_unpack(&many).1.unwrap();
        assert_eq!((skipped.named.len(), skipped.more), (MAX_NAMED, 50 - MAX_NAMED));
    }

    #[test]
    fn trees_are_unpacked_over_what_is_there() {
        let (dir, unpacked) = try_unpack(&[
            entry(EntryType::Directory, "/", "", b""),
            entry(EntryType::Directory, "a/", "", b""),
            entry(EntryType::Regular, "a/b/file", "", b"one"),
            entry(EntryType::Regular, "./a/b/file", "", b"two"),
            entry(EntryType::Symlink, "a/link", "b/file", b""),
            entry(EntryType::Link, "a/hard", "a/b/file", b""),
        ]);
        assert!(unpacked.unwrap().is_empty());
        let target = dir.path().join("target");
        assert_eq!(fs::read_to_string(target.join("a/link")).unwrap(), "two");
        assert_eq!(fs::read_to_string(target.join("a/hard")).unwrap(), "two");
        let mode = fs::metadata(target.join("a/b/file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "no set-uid bit");
    }

    #[test]
    fn nothing_leaves_the_target() {
        let evil: [&[Vec<u8>]; 6] = [
            &[entry(EntryType::Regular, "../evil", "", b"x")],
            &[entry(EntryType::Regular, "/tmp/evil-absolute", "", b"x")],
            &[entry(EntryType::Regular, "a/../../evil", "", b"x")],
            &[entry(EntryType::Symlink, "self", ".", b""), entry(EntryType::Regular, "self/evil", "", b"x")],
            &[
                entry(EntryType::Symlink, "d", "../..", b""),
                entry(EntryType::Regular, "d/../../evil", "", b"x"),
            ],
            &[entry(EntryType::Link, "hard", "../part", b"")],
        ];
        for (number, entries) in evil.iter().enumerate() {
            let (dir, unpacked) = try_unpack(entries);
            assert!(unpacked.is_err(), "archive {number}");
            assert!(!dir.path().join("evil").exists());
            assert!(!Path::new("/tmp/evil-absolute").exists());
        }
    }
}
