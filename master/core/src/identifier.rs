//! Identifiers: names that may stand in topics and paths (`docs/compat/database.md`, "Identifiers").

/// Longest identifier, in characters: the columns of slugs, worker and step names hold no more.
pub const MAX_IDENTIFIER: usize = 50;

/// Whether `text` is an identifier of at most [`MAX_IDENTIFIER`] characters.
pub fn is_identifier(text: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || matches!(c, '-' | '_') || c >= '\u{a0}';
    let continues = |c: char| starts(c) || c.is_ascii_digit();
    let mut chars = text.chars();
    chars.next().is_some_and(starts) && chars.all(continues) && text.chars().count() <= MAX_IDENTIFIER
}

/// The slug of a log's name.
pub fn slug(name: &str) -> String {
    if is_identifier(name) {
        return name.to_owned();
    }
    let keep = |(index, c): (usize, char)| {
        let allowed = c.is_ascii_alphabetic() || matches!(c, '-' | '_') || (index > 0 && c.is_ascii_digit());
        if allowed { c } else { '_' }
    };
    let slug: String = name.chars().take(MAX_IDENTIFIER).enumerate().map(keep).collect();
    if slug.is_empty() { "_".to_owned() } else { slug }
}

/// The next slug to try when `slug` is taken in its step: its trailing number raised, or `_2` added.
pub fn next_slug(slug: &str) -> String {
    let number = slug.rsplit_once('_').and_then(|(base, digits)| Some((base, digits.parse::<u32>().ok()?)));
    let (base, number) = number.map_or((slug, 2), |(base, number)| (base, number + 1));
    with_suffix(base, number)
}

/// `base_number`, with the base cut so that the whole fits.
pub fn with_suffix(base: &str, number: u32) -> String {
    let suffix = format!("_{number}");
    let base: String = base.chars().take(MAX_IDENTIFIER - suffix.len()).collect();
    base + &suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_keep_identifiers_and_replace_the_rest() {
        assert_eq!(slug("stdio"), "stdio");
        assert_eq!(slug("report.html"), "report_html");
        assert_eq!(slug("1st log"), "_st_log");
        assert_eq!(slug(&"x".repeat(60)).len(), MAX_IDENTIFIER);
        assert!(is_identifier(&slug("")));
    }

    #[test]
    fn taken_slugs_count_up() {
        assert_eq!(next_slug("stdio"), "stdio_2");
        assert_eq!(next_slug("stdio_2"), "stdio_3");
        let long = next_slug(&"x".repeat(50));
        assert!(long.ends_with("_2") && long.chars().count() == 50);
    }
}
