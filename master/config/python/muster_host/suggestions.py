"""What somebody may have meant who has misspelt a name."""

import difflib

#: How near a name must be to be suggested, from 0 to 1: one or two letters of an ordinary name.
_NEAR = 0.8


def did_you_mean(name, known):
    """`; did you mean x?`, or nothing where no known name is near."""
    # Most misspellings of names in this language are about capitals and underscores.
    plain = {_plain(each): each for each in sorted(known)}
    near = plain.get(_plain(name)) or next(iter(difflib.get_close_matches(name, sorted(known), 1, _NEAR)), None)
    return f"; did you mean {near}?" if near else ""


def _plain(name):
    return name.replace("_", "").lower()
