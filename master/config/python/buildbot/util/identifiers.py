"""Identifiers: words of limited length, for names in addresses and tables: letters, digits, `_` and `-`, and everything
beyond ASCII, but no digit at the beginning."""

import re

ident_re = re.compile(r"^[a-zA-Z\u00a0-\U0010ffff_-][a-zA-Z0-9\u00a0-\U0010ffff_-]*$")


def isIdentifier(maxLength, candidate):
    """Whether this is an identifier of at most `maxLength` characters."""
    return isinstance(candidate, str) and 0 < len(candidate) <= maxLength and bool(ident_re.match(candidate))


def forceIdentifier(maxLength, text):
    """An identifier that looks like the text."""
    if not isinstance(text, str):
        raise TypeError(f"{text!r} cannot be coerced to an identifier")
    if isIdentifier(maxLength, text):
        return text
    cleaned = re.sub(r"^[^a-zA-Z_-]", "_", text[:maxLength])
    return re.sub(r"[^a-zA-Z0-9_-]", "_", cleaned)


def incrementIdentifier(maxLength, identifier):
    """The next identifier of a series: `a`, `a_2`, `a_3`."""
    match = re.match(r"^(.*)_(\d+)$", identifier)
    stem, number = (match.group(1), int(match.group(2)) + 1) if match else (identifier, 2)
    suffix = f"_{number}"
    return stem[: maxLength - len(suffix)] + suffix
