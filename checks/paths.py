"""No file names a place that exists on one machine only."""

from __future__ import annotations

import re
from typing import Iterator

from .tree import Tree

# Homes of people, temporary places of one machine. `/tmp/` itself is fine: every machine has it.
_PRIVATE = re.compile(r"(?<![\w.:/-])/(?:work/(?:main|shared)|var/tmp|root/|home/(?!user\b|buildbot\b)\w+/)[\w./-]*")


def problems(tree: Tree) -> Iterator[str]:
    for path in tree.paths:
        if path.startswith("checks/"):
            continue
        text = tree.text(path)
        for match in _PRIVATE.finditer(text):
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: names {match[0]}, a path of one machine"
