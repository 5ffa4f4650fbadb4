//! Banana: nested lists of numbers and byte strings, as bytes (`docs/compat/worker-protocol.md` 1.1).

/// Bytes of one string, in both directions: the stock peers drop a connection over more.
pub const MAX_STRING: usize = 640 * 1024;

/// Bytes in front of a type byte; the stock limit.
const MAX_PREFIX: usize = 64;

/// Lists in lists. A value of Python takes two or three levels for each of its own; real messages need about twenty.
const MAX_DEPTH: usize = 100;

/// What an element counts besides the bytes of a string, against the limit of its expression.
const ELEMENT_WEIGHT: usize = size_of::<Item>();

const LIST: u8 = 0x80;
const INT: u8 = 0x81;
const STRING: u8 = 0x82;
const NEG: u8 = 0x83;
const FLOAT: u8 = 0x84;
const LONGINT: u8 = 0x85;
const LONGNEG: u8 = 0x86;
const VOCAB: u8 = 0x87;

/// Words of the dialect `pb`; index 1 is the first.
const VOCABULARY: [&str; 31] = [
    "None",
    "class",
    "dereference",
    "reference",
    "dictionary",
    "function",
    "instance",
    "list",
    "module",
    "persistent",
    "tuple",
    "unpersistable",
    "copy",
    "cache",
    "cached",
    "remote",
    "local",
    "lcache",
    "version",
    "login",
    "password",
    "challenge",
    "logged_in",
    "not_logged_in",
    "cachemessage",
    "message",
    "answer",
    "error",
    "decref",
    "decache",
    "uncache",
];

/// An element. Words of the vocabulary are strings like any other here.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A whole number.
    Int(i128),
    /// A float.
    Float(f64),
    /// A string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Item>),
}

/// Why bytes are no banana, or an element can't be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BananaError {
    /// More than [`MAX_PREFIX`] bytes before a type.
    #[error("a number has more than {MAX_PREFIX} digits")]
    LongPrefix,
    /// A whole number of more than 127 bits.
    #[error("a number is too large")]
    LargeNumber,
    /// An unknown type byte.
    #[error("{0:#04x} is no type of an element")]
    UnknownType(u8),
    /// A word that is not in the vocabulary.
    #[error("the vocabulary has no word {0}")]
    UnknownWord(u128),
    /// Longer than [`MAX_STRING`].
    #[error("a string or a list of {0} is over the limit of {MAX_STRING}")]
    TooLong(u128),
    /// An expression over its limit.
    #[error("a message is over the limit of {0} bytes")]
    TooLarge(usize),
    /// More than [`MAX_DEPTH`] lists in lists.
    #[error("lists are nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

/// Bytes in, elements out.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    read: usize,
    /// Lists that are not whole yet, with the number of elements that they wait for.
    open: Vec<(Vec<Item>, usize)>,
    weight: usize,
    limit: usize,
}

impl Decoder {
    /// A decoder for expressions of at most `limit` bytes in memory.
    pub fn new(limit: usize) -> Decoder {
        Decoder { buffer: Vec::new(), read: 0, open: Vec::new(), weight: 0, limit }
    }

    /// Another limit, from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole expression.
    ///
    /// # Errors
    /// When the bytes are no banana, or over a limit; nothing good can follow then.
    #[allow(clippy::should_implement_trait, reason = "it is fallible and goes on after a None")]
    pub fn next(&mut self) -> Result<Option<Item>, BananaError> {
        loop {
            let Some(item) = self.element()? else {
                self.buffer.drain(..self.read);
                self.read = 0;
                return Ok(None);
            };
            if let Some(whole) = self.place(item) {
                self.weight = 0;
                return Ok(Some(whole));
            }
        }
    }

    /// Puts an element where it belongs; answers the expression that it completes.
    fn place(&mut self, element: Element) -> Option<Item> {
        let mut item = match element {
            Element::Whole(item) => item,
            Element::List(0) => Item::List(Vec::new()),
            Element::List(wanted) => {
                self.open.push((Vec::new(), wanted));
                return None;
            }
        };
        loop {
            let Some((items, wanted)) = self.open.last_mut() else { return Some(item) };
            items.push(item);
            if items.len() < *wanted {
                return None;
            }
            let (items, _) = self.open.pop()?;
            item = Item::List(items);
        }
    }

    /// The next element, when all its bytes are there.
    fn element(&mut self) -> Result<Option<Element>, BananaError> {
        let rest = &self.buffer[self.read..];
        let Some(digits) = rest.iter().position(|byte| *byte >= 0x80) else {
            return if rest.len() > MAX_PREFIX { Err(BananaError::LongPrefix) } else { Ok(None) };
        };
        if digits > MAX_PREFIX {
            return Err(BananaError::LongPrefix);
        }
        let kind = rest[digits];
        let body = digits + 1;
        let number = number(&rest[..digits]);
        let (element, length) = match kind {
            LIST => {
                if self.open.len() >= MAX_DEPTH {
                    return Err(BananaError::TooDeep);
                }
                (Element::List(length(number?)?), 0)
            }
            STRING => {
                let length = length(number?)?;
                if self.weight + length > self.limit {
                    return Err(BananaError::TooLarge(self.limit));
                }
                let Some(bytes) = rest.get(body..body + length) else { return Ok(None) };
                (Element::Whole(Item::Bytes(bytes.to_vec())), length)
            }
            FLOAT => {
                let Some(bytes) = rest.get(body..body + 8) else { return Ok(None) };
                let bytes = bytes.try_into().expect("eight bytes were taken");
                (Element::Whole(Item::Float(f64::from_be_bytes(bytes))), 8)
            }
            INT | LONGINT => (Element::Whole(Item::Int(signed(number?)?)), 0),
            NEG | LONGNEG => (Element::Whole(Item::Int(-signed(number?)?)), 0),
            VOCAB => (Element::Whole(Item::Bytes(word(number?)?.as_bytes().to_vec())), 0),
            other => return Err(BananaError::UnknownType(other)),
        };
        self.read += body + length;
        self.weight += ELEMENT_WEIGHT + length;
        if self.weight > self.limit {
            return Err(BananaError::TooLarge(self.limit));
        }
        Ok(Some(element))
    }
}

enum Element {
    Whole(Item),
    /// Its elements follow.
    List(usize),
}

/// The least significant digit comes first, seven bits each.
fn number(digits: &[u8]) -> Result<u128, BananaError> {
    digits.iter().rev().try_fold(0_u128, |number, digit| match number.leading_zeros() {
        7.. => Ok(number << 7 | u128::from(*digit)),
        _ => Err(BananaError::LargeNumber),
    })
}

fn length(number: u128) -> Result<usize, BananaError> {
    match usize::try_from(number) {
        Ok(length) if length <= MAX_STRING => Ok(length),
        _ => Err(BananaError::TooLong(number)),
    }
}

fn signed(number: u128) -> Result<i128, BananaError> {
    i128::try_from(number).map_err(|_| BananaError::LargeNumber)
}

fn word(index: u128) -> Result<&'static str, BananaError> {
    let place = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
    place.and_then(|place| VOCABULARY.get(place)).copied().ok_or(BananaError::UnknownWord(index))
}

/// Appends the bytes of `item`; with `vocabulary`, words of it are written as their index.
///
/// # Errors
/// When a string or a list is over [`MAX_STRING`]. What was appended so far is taken back.
pub fn encode(item: &Item, vocabulary: bool, out: &mut Vec<u8>) -> Result<(), BananaError> {
    let begin = out.len();
    put(item, vocabulary, out).inspect_err(|_| out.truncate(begin))
}

fn put(item: &Item, vocabulary: bool, out: &mut Vec<u8>) -> Result<(), BananaError> {
    match item {
        Item::Int(number) => {
            put_digits(number.unsigned_abs(), out);
            out.push(match *number {
                0..=0x7fff_ffff => INT,
                0x8000_0000.. => LONGINT,
                -0x8000_0000..0 => NEG,
                _ => LONGNEG,
            });
        }
        Item::Float(number) => {
            out.push(FLOAT);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Item::Bytes(bytes) => {
            if vocabulary && let Some(place) = VOCABULARY.iter().position(|word| word.as_bytes() == bytes) {
                put_digits(place as u128 + 1, out);
                out.push(VOCAB);
                return Ok(());
            }
            put_length(bytes.len(), STRING, out)?;
            out.extend_from_slice(bytes);
        }
        Item::List(items) => {
            put_length(items.len(), LIST, out)?;
            for item in items {
                put(item, vocabulary, out)?;
            }
        }
    }
    Ok(())
}

fn put_length(length: usize, kind: u8, out: &mut Vec<u8>) -> Result<(), BananaError> {
    if length > MAX_STRING {
        return Err(BananaError::TooLong(length as u128));
    }
    put_digits(length as u128, out);
    out.push(kind);
    Ok(())
}

/// Zero has one digit.
fn put_digits(mut number: u128, out: &mut Vec<u8>) {
    loop {
        out.push((number & 0x7f) as u8);
        number >>= 7;
        if number == 0 {
            return;
        }
    }
}
