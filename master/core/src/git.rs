//! Command lines of git. What comes from data (branches, revisions, addresses) stands only where git reads no option: a
//! branch called `--upload-pack=…` would run a command otherwise.

/// Names of transports whose address is a command or a file descriptor. Versions of git before 2.12 take them without
/// being asked.
const COMMANDS_AS_ADDRESSES: [&str; 2] = ["ext::", "fd::"];

/// Characters of a name that a message shows; it may be as long as whoever sent it likes.
const SHOWN: usize = 100;

/// A word that comes from data and can't be read as an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// Why a word is no [`Name`]; the text says which and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {shown:?} is refused: {reason}")]
pub struct Refused {
    what: &'static str,
    shown: String,
    reason: &'static str,
}

impl Name {
    /// A branch, a revision or another name that git gets; `what` it is, for people.
    ///
    /// # Errors
    /// When it begins with a dash, or holds what no name holds.
    pub fn new(what: &'static str, text: &str) -> Result<Name, Refused> {
        let reason = match text {
            _ if text.starts_with('-') => "git would read it as an option",
            // A line break would begin another line where git reads lines, and NUL ends a word.
            _ if text.contains(['\0', '\n', '\r']) => "it holds a control character",
            _ => return Ok(Name(text.to_owned())),
        };
        Err(refused(what, text, reason))
    }

    /// One of the program's own words, where names stand.
    pub fn own(text: &'static str) -> Name {
        Name(text.to_owned())
    }

    /// The address of a repository. `by_hand`: it stands so in the configuration, so it may also be a command.
    ///
    /// # Errors
    /// When git, or a program that it starts, would read it as something else.
    pub fn address(what: &'static str, text: &str, by_hand: bool) -> Result<Name, Refused> {
        let name = Name::new(what, text)?;
        // With a scheme the host is a word of its own for ssh, proxies and helpers.
        let host = text.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
        if host.starts_with('-') {
            return Err(refused(what, text, "its host would be read as an option"));
        }
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        if !by_hand && COMMANDS_AS_ADDRESSES.iter().any(|transport| lower.starts_with(transport)) {
            return Err(refused(what, text, "this transport runs commands"));
        }
        Ok(name)
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn refused(what: &'static str, text: &str, reason: &'static str) -> Refused {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    Refused { what, shown, reason }
}

/// The words of one git command: options are the program's own, and names follow where none are read any more.
#[derive(Clone, Debug)]
pub struct Words {
    command: &'static str,
    options: Vec<String>,
    names: Vec<String>,
    /// The names are revisions: what follows `--` would be paths.
    revisions: bool,
}

impl Words {
    /// The command `command` (`fetch`, `clone`, …).
    pub fn new(command: &'static str) -> Words {
        Words { command, options: Vec::new(), names: Vec::new(), revisions: false }
    }

    /// The command alone.
    pub fn command(&self) -> &'static str {
        self.command
    }

    /// One of the program's own words.
    pub fn option(mut self, option: &'static str) -> Words {
        self.options.push(option.to_owned());
        self
    }

    /// The same for several of them.
    pub fn options(self, options: &[&'static str]) -> Words {
        options.iter().fold(self, |words, option| words.option(option))
    }

    /// An option, if it is wanted.
    pub fn option_if(self, wanted: bool, option: &'static str) -> Words {
        if wanted { self.option(option) } else { self }
    }

    /// An option with a name as its next word.
    pub fn named(mut self, option: &'static str, name: &Name) -> Words {
        self.options.extend([option.to_owned(), name.0.clone()]);
        self
    }

    /// An option with a number as its next word.
    pub fn numbered(mut self, option: &'static str, number: u64) -> Words {
        self.options.extend([option.to_owned(), number.to_string()]);
        self
    }

    /// An option that has its text in the same word, so that any text will do.
    pub fn assigned(mut self, option: &'static str, text: &str) -> Words {
        self.options.push(format!("{option}={text}"));
        self
    }

    /// Addresses, refs or paths, after `--`.
    pub fn names<'a>(mut self, names: impl IntoIterator<Item = &'a Name>) -> Words {
        self.names.extend(names.into_iter().map(|name| name.0.clone()));
        self
    }

    /// A revision, before `--`.
    pub fn revision(mut self, revision: &Name) -> Words {
        self.revisions = true;
        self.names(std::iter::once(revision))
    }

    /// The words, in the order that git wants.
    pub fn into_words(self) -> Vec<String> {
        let Words { command, options, names, revisions } = self;
        let end = (!names.is_empty()).then(|| "--".to_owned());
        let (before, after) = if revisions { (None, end) } else { (end, None) };
        let command = std::iter::once(command.to_owned());
        command.chain(options).chain(before).chain(names).chain(after).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_option_and_no_second_line() {
        for evil in ["-", "--upload-pack=touch /tmp/x", "-b", "a\nurl=x", "a\0b", "a\r"] {
            assert!(Name::new("branch", evil).is_err(), "{evil:?}");
            assert!(Name::address("repourl", evil, true).is_err(), "{evil:?}");
        }
        for good in ["", "main", "a-b", "refs/pull/7/merge", "feature/-x", "v1^{commit}", "a b", "ä"] {
            assert_eq!(Name::new("branch", good).unwrap().as_str(), good);
        }
        let refused = Name::new("branch", "--x").unwrap_err();
        assert_eq!(refused.to_string(), "branch \"--x\" is refused: git would read it as an option");
        assert!(
            Name::new("branch", &format!("-{}", "x".repeat(10_000))).unwrap_err().to_string().len() < 500
        );
    }

    #[test]
    fn an_address_hides_no_option_and_no_command() {
        for evil in
            ["ssh://-oProxyCommand=touch", "SSH://-x/y", "git://-x/y", "ext::sh -c true", "EXT::x", "fd::7"]
        {
            assert!(Name::address("repourl", evil, false).is_err(), "{evil}");
        }
        assert!(Name::address("repourl", "ext::ssh-proxy %S host", true).is_ok(), "an administrator's own");
        let good = [
            "https://h/r",
            "git@h:r.git",
            "user@h:/abs",
            "alias:path",
            "/srv/r",
            "./-r",
            "file:///-r",
            "ssh://u@h:22/r",
        ];
        for good in good {
            assert!(Name::address("repourl", good, false).is_ok(), "{good}");
        }
    }

    #[test]
    fn names_stand_where_no_options_are_read() {
        let name = |text| Name::new("name", text).unwrap();
        let (url, branch) = (name("/r"), name("main"));
        let fetch = Words::new("fetch").option("-f").numbered("--depth", 1).names([&url, &branch]);
        assert_eq!(fetch.into_words().join(" "), "fetch -f --depth 1 -- /r main");
        let checkout = Words::new("checkout").option("-f").revision(&branch);
        assert_eq!(checkout.into_words().join(" "), "checkout -f main --");
        let describe = Words::new("describe")
            .option_if(false, "--all")
            .assigned("--dirty", "-x")
            .named("--match", &branch);
        assert_eq!(describe.into_words().join(" "), "describe --dirty=-x --match main");
    }
}
