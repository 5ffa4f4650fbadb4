//! Colours of terminals in logs: `ESC [ … m` becomes classes, every other escape sequence is left out.

use std::fmt::Write;

use minijinja::{Value, context};
use muster_data::views::TextLine;

/// Lines with their markup, for templates. Colours go on from line to line, as in a terminal.
pub(super) fn lines(lines: &[TextLine]) -> Vec<Value> {
    let mut style = Style::default();
    let line = |line: &TextLine| {
        let html = Value::from_safe_string(html(&line.text, &mut style));
        context! { number => line.number, stream => line.stream.to_string(), html, left_out => line.left_out }
    };
    lines.iter().map(line).collect()
}

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Color {
    /// One of the sixteen that a theme defines.
    Named(u8),
    /// An exact one.
    Exact(u8, u8, u8),
}

/// How the next characters look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Style {
    foreground: Option<Color>,
    background: Option<Color>,
    bold: bool,
    faint: bool,
    italic: bool,
    underline: bool,
    inverse: bool,
}

fn html(text: &str, style: &mut Style) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(position) = rest.find('\x1b') {
        push(&mut out, &rest[..position], *style);
        let (parameters, after) = escape(&rest[position + 1..]);
        if let Some(parameters) = parameters {
            style.apply(parameters);
        }
        rest = after;
    }
    push(&mut out, rest, *style);
    out
}

/// What follows an ESC: the parameters of a colour sequence, if it is one, and what comes after it.
fn escape(text: &str) -> (Option<&str>, &str) {
    let Some(kind) = text.chars().next() else { return (None, text) };
    let after = &text[kind.len_utf8()..];
    match kind {
        '[' => {
            let Some(end) = after.find(|c: char| ('\x40'..='\x7e').contains(&c)) else { return (None, "") };
            let parameters = after[end..].starts_with('m').then_some(&after[..end]);
            (parameters, &after[end + 1..])
        }
        // A title or a link of the terminal, up to BEL or ESC \.
        ']' => match after.find(['\x07', '\x1b']) {
            Some(end) => (None, after[end..].trim_start_matches(['\x07', '\x1b']).trim_start_matches('\\')),
            None => (None, ""),
        },
        '(' | ')' => (None, after.get(1..).unwrap_or_default()),
        _ => (None, after),
    }
}

fn push(out: &mut String, text: &str, style: Style) {
    if text.is_empty() {
        return;
    }
    let plain = style == Style::default();
    if !plain {
        style.open(out);
    }
    for c in text.chars() {
        match c {
            // What else controls a terminal is nothing to see.
            '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f' => {}
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    if !plain {
        out.push_str("</span>");
    }
}

impl Style {
    fn open(self, out: &mut String) {
        let (foreground, background) = match self.inverse {
            false => (self.foreground, self.background),
            true => (self.background.or(Some(Color::Named(0))), self.foreground.or(Some(Color::Named(7)))),
        };
        let mut classes = Vec::new();
        let mut exact = String::new();
        for (color, prefix) in [(foreground, "fg"), (background, "bg")] {
            let Some(color) = color else { continue };
            classes.push(format!("{prefix}{}", color.named()));
            if let Color::Exact(r, g, b) = color {
                // The script paints it; without script the nearest named colour stands.
                exact = format!("{exact} data-{prefix}=\"#{r:02x}{g:02x}{b:02x}\"");
            }
        }
        let flags = [(self.bold, "b"), (self.faint, "f"), (self.italic, "i"), (self.underline, "u")];
        classes.extend(flags.iter().filter(|(set, _)| *set).map(|(_, class)| (*class).to_owned()));
        // Writing into a string can't fail.
        let _ = write!(out, "<span class=\"{}\"{exact}>", classes.join(" "));
    }

    fn apply(&mut self, parameters: &str) {
        let mut codes = parameters.split([';', ':']).map(|code| match code {
            "" => Some(0),
            code => code.parse::<u16>().ok(),
        });
        while let Some(code) = codes.next() {
            match code {
                Some(0) => *self = Style::default(),
                Some(1) => self.bold = true,
                Some(2) => self.faint = true,
                Some(3) => self.italic = true,
                Some(4) => self.underline = true,
                Some(7) => self.inverse = true,
                Some(22) => (self.bold, self.faint) = (false, false),
                Some(23) => self.italic = false,
                Some(24) => self.underline = false,
                Some(27) => self.inverse = false,
                Some(code @ 30..=37) => self.foreground = Some(Color::Named(code as u8 - 30)),
                Some(code @ 40..=47) => self.background = Some(Color::Named(code as u8 - 40)),
                Some(code @ 90..=97) => self.foreground = Some(Color::Named(code as u8 - 82)),
                Some(code @ 100..=107) => self.background = Some(Color::Named(code as u8 - 92)),
                Some(38) => self.foreground = extended(&mut codes).or(self.foreground),
                Some(48) => self.background = extended(&mut codes).or(self.background),
                Some(39) => self.foreground = None,
                Some(49) => self.background = None,
                _ => {}
            }
        }
    }
}

/// `5;N` or `2;R;G;B`.
fn extended(codes: &mut impl Iterator<Item = Option<u16>>) -> Option<Color> {
    let mut byte = || codes.next().flatten().and_then(|code| u8::try_from(code).ok());
    match byte()? {
        5 => Some(palette(byte()?)),
        2 => Some(Color::Exact(byte()?, byte()?, byte()?)),
        _ => None,
    }
}

/// The 256 colours of xterm: 16 named ones, a cube of 6 × 6 × 6, and 24 greys.
fn palette(index: u8) -> Color {
    let level = |step: u8| if step == 0 { 0 } else { 55 + step * 40 };
    match index {
        0..=15 => Color::Named(index),
        16..=231 => {
            let index = index - 16;
            Color::Exact(level(index / 36), level(index / 6 % 6), level(index % 6))
        }
        232..=255 => {
            let grey = 8 + (index - 232) * 10;
            Color::Exact(grey, grey, grey)
        }
    }
}

impl Color {
    /// The named colour, or the nearest one.
    fn named(self) -> u8 {
        let (r, g, b) = match self {
            Color::Named(index) => return index,
            Color::Exact(r, g, b) => (r, g, b),
        };
        let brightest = r.max(g).max(b);
        if brightest < 48 {
            return 0;
        }
        let on = |part: u8| u8::from(u16::from(part) * 2 > u16::from(brightest));
        let hue = on(r) | on(g) << 1 | on(b) << 2;
        match (hue, brightest) {
            (7, 0..=160) => 8,
            (7, 161..=220) => 7,
            (hue, 0..=200) => hue,
            (hue, _) => hue + 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        html(text, &mut Style::default())
    }

    #[test]
    fn colours_become_classes() {
        assert_eq!(shown("a\x1b[31mred\x1b[0m z"), "a<span class=\"fg1\">red</span> z");
        assert_eq!(shown("\x1b[1;92mok\x1b[m"), "<span class=\"fg10 b\">ok</span>");
        assert_eq!(shown("\x1b[38;5;196mx"), "<span class=\"fg9\" data-fg=\"#ff0000\">x</span>");
        assert_eq!(shown("\x1b[48;2;0;0;128mx"), "<span class=\"bg4\" data-bg=\"#000080\">x</span>");
        assert_eq!(shown("\x1b[38;5;3mx"), "<span class=\"fg3\">x</span>");
        assert_eq!(shown("\x1b[7mx\x1b[27my"), "<span class=\"fg0 bg7\">x</span>y");
    }

    #[test]
    fn a_colour_goes_on_in_the_next_line() {
        let mut style = Style::default();
        html("\x1b[32mone", &mut style);
        assert_eq!(html("two", &mut style), "<span class=\"fg2\">two</span>");
    }

    #[test]
    fn other_sequences_are_left_out_and_text_is_escaped() {
        assert_eq!(shown("\x1b[2Ka\x1b[1;1Hb\x1b]0;title\x07c\x1b(Bd\x1b"), "abcd");
        assert_eq!(shown("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"), "link");
        assert_eq!(shown("<script>&\x07"), "&lt;script&gt;&amp;");
        assert_eq!(shown("\x1b[38;5;999;31mx\x1b[99999999m"), "<span class=\"fg1\">x</span>");
        assert_eq!(shown("\x1b[31"), "");
    }
}
