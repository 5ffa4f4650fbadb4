"""Lone surrogates in texts, as the master carries them.

`os.listdir()` gives names that are no UTF-8 with them. The master has no such characters; in its JSON each of them is one
character of the private plane 16 (U+10D800 to U+10DFFF), which it writes as it is.
"""

import re

_SHIFT = 0x100000
_CARRIED = re.compile("[\U0010d800-\U0010dfff]")


def from_master(json_text):
    """JSON text of the master with the surrogates in it as escapes, which `json.loads` takes."""
    return _CARRIED.sub(lambda match: "\\u%04x" % (ord(match.group()) - _SHIFT), json_text)
