//! The hash by which Buildbot finds rows of long names (`docs/compat/database.md`, "The hash H").

use sha1::{Digest, Sha1};

/// One argument of the hash.
#[derive(Clone, Copy, Debug)]
pub enum HashPart<'a> {
    /// Text, as its UTF-8 bytes.
    Text(&'a str),
    /// A number, as its decimal text.
    Int(i64),
    /// NULL, as the byte 0xF5, which no UTF-8 text holds.
    Null,
}

impl<'a> From<Option<&'a str>> for HashPart<'a> {
    fn from(value: Option<&'a str>) -> HashPart<'a> {
        value.map_or(HashPart::Null, HashPart::Text)
    }
}

/// SHA-1, in lower-case hex, of the parts joined by zero bytes.
pub fn hash(parts: &[HashPart<'_>]) -> String {
    let mut sha = Sha1::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            sha.update([0]);
        }
        match part {
            HashPart::Text(text) => sha.update(text.as_bytes()),
            HashPart::Int(number) => sha.update(number.to_string().as_bytes()),
            HashPart::Null => sha.update([0xF5]),
        }
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of one name.
pub fn name_hash(name: &str) -> String {
    hash(&[HashPart::Text(name)])
}

#[cfg(test)]
mod tests {
    use super::{HashPart::*, *};

    #[test]
    fn hashes_are_buildbots() {
        assert_eq!(name_hash("ok"), "7a85f4764bbd6daf1c3545efbbf0f279a6dc0beb");
        assert_eq!(name_hash("café"), "f424452a9673918c6f09b0cdd35b20be8e6ae7d7");
        let empty = [Null, Null, Text(""), Text(""), Text(""), Null];
        assert_eq!(hash(&empty), "835fccf6db3694afb48c380997024542c0bc162d");
        let patched = [Text("main"), Text("abc123"), Text("/repo"), Text("proj1"), Text(""), Int(1)];
        assert_eq!(hash(&patched), "af5d1e51d4f4b837761066753736a02406de4297");
    }
}
