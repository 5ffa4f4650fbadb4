"""A clone stands alone: nothing is read that lies outside of the repository."""

from __future__ import annotations

import re
from typing import Iterator

from .tree import Tree

#: What a path begins at that a program finds by itself, and at which folder: its file's or its crate's.
_BEGINNINGS = re.compile(
    r"(?P<crate>CARGO_MANIFEST_DIR)|(?P<file>\binclude_(?:str|bytes|dir)!|#\[path\b|\bdirname\b|__file__|\bpath\s*=)"
)
#: How far after it the path itself may stand.
_REACH = 200
_STATEMENT_ENDS = re.compile(r"[;\n]\s*\n|;")
_UP = re.compile(r"\.\.(?=[/\"')\s]|$)|\.parent\b(?!s)(?:\(\))?")
_PARENTS = re.compile(r"\.(?:parents\[|ancestors\(\)\.nth\()(\d+)")
#: Folders that have lain beside somebody's clone, and names for the one above it.
_BESIDE = re.compile(r"(?<![\w./-])(?:\.\./)*shared/\w|\b_?(?:ROOT|root)\.parent\b|\b(?:ROOT|root)\}?/\.\./")

_SOURCES = (".rs", ".py", ".sh", ".toml", ".cfg", ".yaml", ".yml", ".js", "Makefile", "/run", "/test", "/prepare", "/alone")


def problems(tree: Tree) -> Iterator[str]:
    crates = {path.rpartition("/")[0] for path in tree.paths if path.endswith("Cargo.toml")}
    for path in tree.ending(*_SOURCES):
        if path.startswith("checks/") and path.endswith(".py"):
            continue
        text = tree.text(path)
        for match in _BESIDE.finditer(text):
            yield f"{_place(path, text, match.start())}: reads {match[0].strip()}, which no clone has"
        folder = path.rpartition("/")[0]
        for match in _BEGINNINGS.finditer(text):
            begin = _crate_of(folder, crates) if match["crate"] else folder
            rest = text[match.end() : match.end() + _REACH]
            if path.endswith(".toml"):
                rest = rest.partition("\n")[0]
            if _climbs(rest) > _depth(begin, match[0]):
                yield f"{_place(path, text, match.start())}: reads what lies above the repository"


def _place(path: str, text: str, at: int) -> str:
    return f"{path}:{text.count(chr(10), 0, at) + 1}"


def _depth(folder: str, beginning: str) -> int:
    """How many steps lead from there to the root; a file has one more than its folder."""
    steps = folder.count("/") + 1 if folder else 0
    return steps + (beginning == "__file__")


def _climbs(rest: str) -> int:
    """How many steps up the expression makes that begins here."""
    end = _STATEMENT_ENDS.search(rest)
    rest = rest[: end.start()] if end else rest
    far = sum(int(match[1]) + 1 for match in _PARENTS.finditer(rest))
    return far + len(_UP.findall(rest))


def _crate_of(folder: str, crates: set[str]) -> str:
    while folder and folder not in crates:
        folder = folder.rpartition("/")[0]
    return folder
