"""The workspace's lints hold everywhere: each crate inherits them, and nobody switches the strict ones off.

Clippy itself sees to `unwrap()`, `todo!` and `unsafe`; this check sees to it that Clippy is asked.
"""

from __future__ import annotations

import re
from typing import Iterator

from . import rust
from .tree import Tree, is_test

_STRICT = ("unsafe_code", "unused_must_use", "unused", "dead_code", "clippy::unwrap_used", "clippy::todo", "clippy::all")


def problems(tree: Tree) -> Iterator[str]:
    for path in tree.ending("/Cargo.toml"):
        if not re.search(r"^\[lints\]\nworkspace = true$", tree.text(path), re.MULTILINE):
            yield f"{path}: has no `[lints] workspace = true`"
    for path in tree.ending(".rs"):
        if is_test(path):
            continue
        code = rust.code_only(rust.without_tests(tree.text(path)))
        for match in re.finditer(r"#!?\[(?:allow|expect)\(([^)]*)\)\]", code):
            for lint in (name.strip() for name in match[1].split(",")):
                if lint in _STRICT:
                    yield f"{path}:{rust.line_of(code, match.start())}: switches off {lint}"
