"""Every metric that the code counts stands in the table of docs/metrics.md, and nothing else does."""

from __future__ import annotations

import re
from typing import Iterator

from . import rust
from .tree import Tree, is_test

DOCUMENT = "docs/metrics.md"
_COUNTED = re.compile(r'\b(?:counter|gauge|histogram)!\(\s*"([a-z_]+)"')
_DOCUMENTED = re.compile(r"^\| `(muster_[a-z_]+)`", re.MULTILINE)


def problems(tree: Tree) -> Iterator[str]:
    counted: dict[str, str] = {}
    for path in tree.ending(".rs"):
        if not is_test(path):
            for name in _COUNTED.findall(rust.without_tests(tree.text(path))):
                counted.setdefault(name, path)
    documented = set(_DOCUMENTED.findall(tree.text(DOCUMENT) if DOCUMENT in tree.paths else ""))
    for name, path in sorted(counted.items()):
        if not name.startswith("muster_"):
            yield f"{path}: the metric {name} must be named muster_…"
        elif name not in documented:
            yield f"{path}: the metric {name} is not in the table of {DOCUMENT}"
    for name in sorted(documented - set(counted)):
        yield f"{DOCUMENT}: nothing counts {name}"
