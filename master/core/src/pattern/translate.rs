//! Python's syntax of patterns, written anew for `fancy-regex`.

use std::fmt::Write;

/// The pattern in the other syntax, or why there is none.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator {
        pattern: pattern.chars().collect(),
        at: 0,
        out: String::new(),
        flags: Flags::default(),
        outer: Vec::new(),
    };
    translator.all()?;
    Ok(translator.out)
}

/// `\b` where only ASCII makes words.
const ASCII_BOUNDARY: &str = "(?:(?<=[A-Za-z0-9_])(?![A-Za-z0-9_])|(?<![A-Za-z0-9_])(?=[A-Za-z0-9_]))";

/// Flags that are carried out here; `i` and `s` are left to the other side.
#[derive(Clone, Copy, Default)]
struct Flags {
    ascii: bool,
    multiline: bool,
    verbose: bool,
}

struct Translator {
    pattern: Vec<char>,
    at: usize,
    out: String,
    flags: Flags,
    /// Of the groups around.
    outer: Vec<Flags>,
}

type Step = Result<(), String>;

impl Translator {
    fn all(&mut self) -> Step {
        while let Some(next) = self.next() {
            self.one(next)?;
        }
        if self.outer.is_empty() { Ok(()) } else { Err("a group is not closed".to_owned()) }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.pattern.get(self.at).copied();
        self.at += usize::from(next.is_some());
        next
    }

    fn peek(&self) -> Option<char> {
        self.pattern.get(self.at).copied()
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = wanted.chars().enumerate().all(|(i, c)| self.pattern.get(self.at + i) == Some(&c));
        self.at += if found { wanted.chars().count() } else { 0 };
        found
    }

    /// Everything before `end`, which is taken, too.
    fn until(&mut self, end: char) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.next() {
                Some(next) if next == end => return Ok(text),
                Some(next) => text.push(next),
                None => return Err(format!("{end:?} is missing")),
            }
        }
    }

    fn one(&mut self, next: char) -> Step {
        match next {
            _ if self.flags.verbose && " \t\n\r\x0b\x0c".contains(next) => {}
            '#' if self.flags.verbose => while self.next().is_some_and(|skipped| skipped != '\n') {},
            '\\' => self.escape()?,
            '[' => self.class()?,
            '(' => self.group()?,
            ')' => {
                self.flags = self.outer.pop().ok_or("a parenthesis has no beginning")?;
                self.out.push(')');
            }
            '^' => self.out.push_str(if self.flags.multiline { "(?m:^)" } else { r"\A" }),
            // Also before a line break at the very end.
            '$' => self.out.push_str(if self.flags.multiline { "(?m:$)" } else { r"(?=\n?\z)" }),
            '.' | '|' | '*' | '+' | '?' => self.out.push(next),
            '{' => self.repeat(),
            other => self.literal(other),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        if self.flags.ascii && !c.is_ascii() {
            // With both flags, only letters of ASCII have a case.
            self.out.push_str(&format!("(?-i:{c})"));
            return;
        }
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// `{2}`, `{2,}`, `{,3}`, `{2,3}`; every other brace is itself.
    fn repeat(&mut self) {
        let rest: String = self.pattern[self.at..].iter().take_while(|c| **c != '}').collect();
        let (low, high) = rest.split_once(',').map_or((rest.as_str(), None), |(low, high)| (low, Some(high)));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let closed = self.pattern.get(self.at + rest.chars().count()) == Some(&'}');
        if !closed || !is_number(low) || !high.is_none_or(is_number) || (low.is_empty() && high.is_none()) {
            return self.literal('{');
        }
        let low = if low.is_empty() { "0" } else { low };
        let comma = if high.is_some() { "," } else { "" };
        self.out.push_str(&format!("{{{low}{comma}{}}}", high.unwrap_or_default()));
        self.at += rest.chars().count() + 1;
    }

    fn group(&mut self) -> Step {
        if !self.take("?") {
            self.open("(");
            return Ok(());
        }
        if self.take("#") {
            self.until(')')?;
            return Ok(());
        }
        if self.take("P=") {
            let name = self.until(')')?;
            return self.name(&name).map(|()| self.out.push_str(&format!("(?P={name})")));
        }
        if self.take("P<") {
            let name = self.until('>')?;
            self.name(&name)?;
            self.open(&format!("(?P<{name}>"));
            return Ok(());
        }
        if self.take("(") {
            let condition = self.until(')')?;
            if condition.bytes().all(|byte| byte.is_ascii_digit()) {
                self.open(&format!("(?({condition})"));
            } else {
                self.name(&condition)?;
                self.open(&format!("(?(<{condition}>)"));
            }
            return Ok(());
        }
        for (written, opening) in
            [(":", "(?:"), ("=", "(?="), ("!", "(?!"), ("<=", "(?<="), ("<!", "(?<!"), (">", "(?>")]
        {
            if self.take(written) {
                self.open(opening);
                return Ok(());
            }
        }
        self.flag_group()
    }

    fn open(&mut self, opening: &str) {
        self.outer.push(self.flags);
        self.out.push_str(opening);
    }

    fn name(&self, name: &str) -> Step {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let good = name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(fits);
        if good { Ok(()) } else { Err(format!("{name:?} is no name of a group that can be used here")) }
    }

    /// `(?i)`, `(?i:…)`, `(?i-s:…)`.
    fn flag_group(&mut self) -> Step {
        let before = self.flags;
        let (mut on, mut off, mut removing) = (String::new(), String::new(), false);
        loop {
            let next = self.next().ok_or("a group is not closed")?;
            match next {
                'i' | 's' => (if removing { &mut off } else { &mut on }).push(next),
                'm' => self.flags.multiline = !removing,
                'x' => self.flags.verbose = !removing,
                'a' if !removing => self.flags.ascii = true,
                'u' => self.flags.ascii = removing,
                '-' if !removing => removing = true,
                ')' | ':' => {
                    let minus = if off.is_empty() { "" } else { "-" };
                    let flags = format!("{on}{minus}{off}");
                    if next == ':' {
                        self.outer.push(before);
                        self.out.push_str(&format!("(?{flags}:"));
                    } else if !flags.is_empty() {
                        self.out.push_str(&format!("(?{flags})"));
                    }
                    return Ok(());
                }
                other => return Err(format!("(?{other} is not known")),
            }
        }
    }

    fn escape(&mut self) -> Step {
        let next = self.next().ok_or("it ends with a backslash")?;
        let ascii = self.flags.ascii;
        match next {
            'A' => self.out.push_str(r"\A"),
            'Z' => self.out.push_str(r"\z"),
            'b' => self.out.push_str(if ascii { ASCII_BOUNDARY } else { r"\b" }),
            'B' if ascii => self.out.push_str(&format!("(?!{ASCII_BOUNDARY})")),
            'B' => self.out.push_str(r"\B"),
            '1'..='9' => self.back_reference(next)?,
            _ => match class_of(next, ascii) {
                Some(class) => self.out.push_str(class),
                None => {
                    let character = self.character(next)?;
                    self.literal(character);
                }
            },
        }
        Ok(())
    }

    /// One or two digits; three octal ones are a character.
    fn back_reference(&mut self, first: char) -> Step {
        let mut digits = String::from(first);
        let octal = |c: char| ('0'..='7').contains(&c);
        if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            let next_two: Vec<char> = self.pattern[self.at..].iter().take(2).copied().collect();
            if octal(first) && next_two.len() == 2 && next_two.iter().copied().all(octal) {
                digits.extend(&next_two);
                self.at += 2;
                let character = u32::from_str_radix(&digits, 8).ok().filter(|code| *code <= 0o377);
                let character = character.and_then(char::from_u32).ok_or("an octal escape is too large")?;
                self.literal(character);
                return Ok(());
            }
            digits.extend(self.next());
        }
        self.out.push_str(&format!(r"(?:\{digits})"));
        Ok(())
    }

    /// The character of an escape that stands for one.
    fn character(&mut self, escaped: char) -> Result<char, String> {
        let digits = |count: usize, radix: u32, this: &mut Translator| {
            let text: String = this.pattern[this.at..].iter().take(count).collect();
            let code = u32::from_str_radix(&text, radix).ok().filter(|_| text.chars().count() == count);
            this.at += count;
            code.and_then(char::from_u32).ok_or(format!("\\{escaped}{text} is no character"))
        };
        match escaped {
            'n' => Ok('\n'),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            'f' => Ok('\x0c'),
            'v' => Ok('\x0b'),
            'a' => Ok('\x07'),
            'x' => digits(2, 16, self),
            'u' => digits(4, 16, self),
            'U' => digits(8, 16, self),
            '0'..='7' => {
                let more = self.pattern[self.at..].iter().take(2).take_while(|c| ('0'..='7').contains(*c));
                let text: String = std::iter::once(escaped).chain(more.copied()).collect();
                self.at += text.len() - 1;
                let code = u32::from_str_radix(&text, 8).ok().and_then(char::from_u32);
                code.ok_or("an octal escape is too large".to_owned())
            }
            other if other.is_ascii_alphanumeric() => Err(format!("the escape \\{other} is not known")),
            other => Ok(other),
        }
    }

    fn class(&mut self) -> Step {
        let opening = if self.take("^") { "[^" } else { "[" };
        self.out.push_str(opening);
        let mut first = true;
        loop {
            let next = self.next().ok_or("a set is not closed")?;
            if next == ']' && !first {
                self.out.push(']');
                return Ok(());
            }
            first = false;
            let Some(low) = self.member(next)? else { continue };
            let is_range =
                self.peek() == Some('-') && self.pattern.get(self.at + 1).is_some_and(|c| *c != ']');
            in_class(&mut self.out, low);
            if is_range {
                self.at += 1;
                let next = self.next().ok_or("a set is not closed")?;
                let high = self.member(next)?.ok_or("a range ends with a class")?;
                self.out.push('-');
                in_class(&mut self.out, high);
            }
        }
    }

    /// One member of a set; a class such as `\d` is written at once.
    fn member(&mut self, next: char) -> Result<Option<char>, String> {
        if next != '\\' {
            return Ok(Some(next));
        }
        let escaped = self.next().ok_or("it ends with a backslash")?;
        if let Some(class) = class_of(escaped, self.flags.ascii) {
            self.out.push_str(class);
            return Ok(None);
        }
        if escaped == 'b' {
            return Ok(Some('\x08'));
        }
        self.character(escaped).map(Some)
    }
}

fn in_class(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        write!(out, "\\x{:02x}", u32::from(c)).expect("a String takes everything");
    }
}

/// What Python's classes contain; they differ from the other side's in marks and in separators.
fn class_of(escaped: char, ascii: bool) -> Option<&'static str> {
    Some(match (escaped, ascii) {
        ('d', true) => "[0-9]",
        ('D', true) => "[^0-9]",
        ('s', true) => r"[\x20\t-\r]",
        ('S', true) => r"[^\x20\t-\r]",
        ('w', true) => "[A-Za-z0-9_]",
        ('W', true) => "[^A-Za-z0-9_]",
        ('d', false) => r"\d",
        ('D', false) => r"\D",
        ('s', false) => r"[\s\x1c-\x1f]",
        ('S', false) => r"[^\s\x1c-\x1f]",
        ('w', false) => r"[\p{L}\p{N}_]",
        ('W', false) => r"[^\p{L}\p{N}_]",
        _ => return None,
    })
}
