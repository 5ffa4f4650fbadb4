//! Texts that say why a buildset was made (`docs/compat/behaviour-3-changes-schedulers.md` 3.4).

/// Puts values into a text with Python's `%(name)s`; `%%` is a percent sign. A name without a value stays as it is, for
/// a wrong reason is better than a lost build.
pub(crate) fn fill(format: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(format.len());
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let (text, length) = match field(rest, values) {
            Some(found) => found,
            None if rest.starts_with("%%") => ("%", 2),
            None => ("%", 1),
        };
        filled.push_str(text);
        rest = &rest[length..];
    }
    filled.push_str(rest);
    filled
}

/// The value of the field at the start of `text`, and the field's length.
fn field<'a>(text: &str, values: &[(&str, &'a str)]) -> Option<(&'a str, usize)> {
    let (name, _) = text.strip_prefix("%(")?.split_once(")s")?;
    let (_, value) = values.iter().find(|(known, _)| *known == name)?;
    Some((value, name.len() + "%()s".len()))
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn fields_are_filled_and_everything_else_stays() {
        let values = [("owner", "me <m@x>"), ("reason", "100%(owner)s")];
        assert_eq!(
            fill("A build was forced by '%(owner)s': %(reason)s", &values),
            "A build was forced by 'me <m@x>': 100%(owner)s"
        );
        assert_eq!(fill("50%% %(nobody)s %", &values), "50% %(nobody)s %");
        assert_eq!(fill("ä%(owner)sß", &values), "äme <m@x>ß");
    }
}
