"""No file names a place that exists on one machine only: this checkout, somebody's home, left-over temporary files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator

from .tree import Tree


def problems(tree: Tree) -> Iterator[str]:
    private = [str(tree.root), str(Path.home()), "/root", "/var/tmp"]
    pattern = re.compile(r"(?<![\w.:/-])(?:" + "|".join(re.escape(place) for place in private) + r")/[\w./-]*")
    for path in tree.paths:
        if path.startswith("checks/"):
            continue
        text = tree.text(path)
        for match in pattern.finditer(text):
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: names {match[0]}, a path of one machine"
