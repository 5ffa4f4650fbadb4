//! Unpacks a tar stream that came from a worker. Nothing in it is trusted: whatever would write or point outside of the
//! target ends the unpacking.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufReader, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use tar::{Entry, EntryType};

/// Most entries of an archive; more end the unpacking. Holds the tree of a large project with its products.
const MAX_ENTRIES: usize = 2_000_000;
/// Most bytes of files, unpacked; more end the unpacking. A small packed stream must not fill the disk.
const MAX_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// Unpacks the tar stream in `archive` into `target`, over what is there.
pub(super) fn unpack(archive: &Path, target: &Path, gz: bool) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let file = BufReader::new(File::open(archive)?);
    if gz { unpack_stream(MultiGzDecoder::new(file), target) } else { unpack_stream(file, target) }
}

fn unpack_stream(stream: impl Read, target: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(stream);
    let mut bytes = 0;
    for (count, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        bytes += entry.size();
        if count >= MAX_ENTRIES || bytes > MAX_BYTES {
            return Err(io::Error::other(format!("more than {MAX_ENTRIES} entries or {MAX_BYTES} bytes")));
        }
        let name = entry.path()?.into_owned();
        unpack_entry(&mut entry, &name, target)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", name.display())))?;
    }
    Ok(())
}

fn unpack_entry(entry: &mut Entry<'_, impl Read>, name: &Path, target: &Path) -> io::Result<()> {
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader) {
        return Ok(());
    }
    let Some(path) = inside(target, name)? else { return Ok(()) };
    let mode = entry.header().mode()? & 0o777;
    match kind {
        EntryType::Directory => make_dir(&path, mode),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            clear(&path)?;
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
            io::copy(entry, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode | 0o600))
        }
        EntryType::Symlink => {
            let link = entry.link_name()?.ok_or_else(|| unsafe_entry("a link to nothing"))?.into_owned();
            if !points_inside(name, &link) {
                return Err(unsafe_entry(&format!("a link out of the directory, to {}", link.display())));
            }
            clear(&path)?;
            symlink(link, &path)
        }
        EntryType::Link => {
            let link = entry.link_name()?.ok_or_else(|| unsafe_entry("a link to nothing"))?.into_owned();
            let original = inside(target, &link)?.ok_or_else(|| unsafe_entry("a link to nothing"))?;
            if !fs::symlink_metadata(&original)?.is_file() {
                return Err(unsafe_entry("a link to what is no file"));
            }
            clear(&path)?;
            fs::hard_link(original, &path)
        }
        other => Err(unsafe_entry(&format!("neither a file, a directory nor a link ({other:?})"))),
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

    fn try_unpack(entries: &[Vec<u8>]) -> (tempfile::TempDir, io::Result<()>) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = entries.concat();
        bytes.extend([0; 1024]);
        fs::write(dir.path().join("part"), bytes).unwrap();
        let unpacked = unpack(&dir.path().join("part"), &dir.path().join("target"), false);
        (dir, unpacked)
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
        unpacked.unwrap();
        let target = dir.path().join("target");
        assert_eq!(fs::read_to_string(target.join("a/link")).unwrap(), "two");
        assert_eq!(fs::read_to_string(target.join("a/hard")).unwrap(), "two");
        let mode = fs::metadata(target.join("a/b/file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "no set-uid bit");
    }

    #[test]
    fn nothing_leaves_the_target() {
        let evil: [&[Vec<u8>]; 10] = [
            &[entry(EntryType::Regular, "../evil", "", b"x")],
            &[entry(EntryType::Regular, "/tmp/evil-absolute", "", b"x")],
            &[entry(EntryType::Regular, "a/../../evil", "", b"x")],
            &[entry(EntryType::Symlink, "link", "..", b"")],
            &[entry(EntryType::Symlink, "link", "/etc", b"")],
            &[entry(EntryType::Symlink, "a/link", "../../evil", b"")],
            &[entry(EntryType::Symlink, "self", ".", b""), entry(EntryType::Regular, "self/evil", "", b"x")],
            &[
                entry(EntryType::Symlink, "self", ".", b""),
                entry(EntryType::Symlink, "link", "self/../part", b""),
            ],
            &[entry(EntryType::Link, "hard", "../part", b"")],
            &[entry(EntryType::Fifo, "pipe", "", b"")],
        ];
        for (number, entries) in evil.iter().enumerate() {
            let (dir, unpacked) = try_unpack(entries);
            assert!(unpacked.is_err(), "archive {number}");
            assert!(!dir.path().join("evil").exists());
            assert!(!Path::new("/tmp/evil-absolute").exists());
        }
    }
}
