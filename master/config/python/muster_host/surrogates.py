"""What Python's values may hold and the master's can't, as the master carries it.

Lone surrogates: `os.listdir()` gives names that are no UTF-8 with them. The master has no such characters; in its JSON each of
them is one character of the private plane 16 (U+10D800 to U+10DFFF), which it writes as it is.

Integers beyond 64 bits: in its JSON they are texts, U+10D7FF and then the digits.
"""

import re

_SHIFT = 0x100000
_CARRIED = re.compile("[\U0010d800-\U0010dfff]")
_INTEGER = re.compile('(?<!\\\\)"\U0010d7ff(-?[0-9]+)"(?!\\s*:)')


def from_master(json_text):
    """JSON text of the master with the surrogates in it as escapes and long integers as numbers, as `json.loads` takes them."""
    if "\U0010d7ff" in json_text:
        json_text = _INTEGER.sub(r"\1", json_text)
    return _CARRIED.sub(lambda match: "\\u%04x" % (ord(match.group()) - _SHIFT), json_text)
