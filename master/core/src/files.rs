//! What a file is, by the mode that the system tells.

/// The bits of a mode that say what a file is.
const KIND: u32 = 0o170_000;

/// The name of what a file is.
pub fn kind_of(mode: u32) -> &'static str {
    match mode & KIND {
        0o010_000 => "a FIFO",
        0o020_000 => "a character device",
        0o040_000 => "a directory",
        0o060_000 => "a block device",
        0o100_000 => "a regular file",
        0o120_000 => "a link",
        0o140_000 => "a socket",
        _ => "something else",
    }
}
