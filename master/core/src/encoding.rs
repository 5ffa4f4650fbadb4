//! Text of programs in other encodings than UTF-8 (`logEncoding`), decoded as it comes in pieces.

use encoding_rs::{Decoder, Encoding};

/// Python's names of encodings, as `codecs.lookup` gives them, and what the web calls the same. The load knows the same names.
const NAMES: &[(&str, &str)] = &[
    ("iso8859-2", "iso-8859-2"),
    ("iso8859-3", "iso-8859-3"),
    ("iso8859-4", "iso-8859-4"),
    ("iso8859-5", "iso-8859-5"),
    ("iso8859-6", "iso-8859-6"),
    ("iso8859-7", "iso-8859-7"),
    ("iso8859-8", "iso-8859-8"),
    ("iso8859-10", "iso-8859-10"),
    ("iso8859-13", "iso-8859-13"),
    ("iso8859-14", "iso-8859-14"),
    ("iso8859-15", "iso-8859-15"),
    ("iso8859-16", "iso-8859-16"),
    ("cp1250", "windows-1250"),
    ("cp1251", "windows-1251"),
    ("cp1252", "windows-1252"),
    ("cp1253", "windows-1253"),
    ("cp1254", "windows-1254"),
    ("cp1255", "windows-1255"),
    ("cp1256", "windows-1256"),
    ("cp1257", "windows-1257"),
    ("cp1258", "windows-1258"),
    ("cp866", "ibm866"),
    ("koi8-r", "koi8-r"),
    ("koi8-u", "koi8-u"),
    ("mac-roman", "macintosh"),
    ("cp932", "shift_jis"),
    ("shift_jis", "shift_jis"),
    ("euc_jp", "euc-jp"),
    ("iso2022_jp", "iso-2022-jp"),
    ("gb2312", "gbk"),
    ("gbk", "gbk"),
    ("gb18030", "gb18030"),
    ("big5", "big5"),
    ("euc_kr", "euc-kr"),
    ("cp949", "euc-kr"),
    ("utf-16-le", "utf-16le"),
    ("utf-16-be", "utf-16be"),
];

/// One stream of bytes on its way to text. What can't be decoded becomes U+FFFD.
pub struct TextDecoder(Kind);

enum Kind {
    /// Each byte is the character of its number; the web's `latin1` is another one.
    Latin1,
    Other(Box<Decoder>),
}

impl TextDecoder {
    /// For an encoding by its name in Python; `None` for UTF-8, and for what isn't known.
    pub fn new(name: &str) -> Option<TextDecoder> {
        if name == "iso8859-1" {
            return Some(TextDecoder(Kind::Latin1));
        }
        let (_, label) = NAMES.iter().find(|(known, _)| *known == name)?;
        let encoding = Encoding::for_label(label.as_bytes())?;
        Some(TextDecoder(Kind::Other(Box::new(encoding.new_decoder_without_bom_handling()))))
    }

    /// The text of the next bytes; at the `last` ones also of a character that is not whole.
    pub fn push(&mut self, bytes: &[u8], last: bool) -> String {
        match &mut self.0 {
            Kind::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
            Kind::Other(decoder) => {
                // More than it can take, so that it is done in one go.
                let room = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len() * 3 + 16);
                let mut text = String::with_capacity(room);
                let _ = decoder.decode_to_string(bytes, &mut text, last);
                text
            }
        }
    }
}

impl std::fmt::Debug for TextDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TextDecoder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_and_text_comes_whole_in_any_pieces() {
        for (name, _) in NAMES {
            assert!(TextDecoder::new(name).is_some(), "{name}");
        }
        assert!(TextDecoder::new("utf-8").is_none() && TextDecoder::new("nosuch").is_none());
        let samples: [(&str, &[u8], &str); 4] = [
            ("iso8859-1", b"caf\xe9 \x80", "café \u{80}"),
            ("cp1252", b"\x80 5", "€ 5"),
            ("cp932", b"\x83e\x83X\x83g", "テスト"),
            ("koi8-r", b"\xc4\xc1", "да"),
        ];
        for (name, bytes, wanted) in samples {
            for piece in [1, 2, 100] {
                let mut decoder = TextDecoder::new(name).unwrap();
                let mut text: String = bytes.chunks(piece).map(|part| decoder.push(part, false)).collect();
                text += &decoder.push(b"", true);
                assert_eq!(text, wanted, "{name} {piece}");
            }
        }
        assert_eq!(TextDecoder::new("cp932").unwrap().push(b"a\x83", true), "a\u{fffd}");
    }
}
