"""SQL is written in crate `store` only, and there it is never built from anything but constants.

A `format!` with SQL may fill in names in capitals (constants). Where something else is safe, the line above says
`// SQL: ` and why.
"""

from __future__ import annotations

import re
from typing import Iterator

from . import rust
from .tree import Tree, is_test

_STATEMENT = re.compile(
    r"^\s*(?:SELECT\s.+\sFROM\s|INSERT\s+(?:OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s"
    r"|(?:CREATE|DROP|ALTER)\s+(?:TABLE|INDEX)\s|PRAGMA\s)",
    re.DOTALL,
)
_FRAGMENT = re.compile(r"\b(?:SELECT|FROM|WHERE|INSERT INTO|UPDATE|SET|VALUES|ORDER BY|JOIN|LIMIT)\b")
_FILLED = re.compile(r"(?<!\{)\{(?!\{)([^}]*)\}")


def problems(tree: Tree) -> Iterator[str]:
    for path in tree.ending(".rs"):
        if is_test(path) or path.startswith("tests/"):
            continue
        text = rust.without_tests(tree.text(path))
        yield from _in_store(path, text) if path.startswith("master/store/") else _outside(path, text)


def _outside(path: str, text: str) -> Iterator[str]:
    for literal in rust.strings(text):
        if _STATEMENT.search(literal.content):
            yield f"{path}:{rust.line_of(text, literal.offset)}: SQL outside master/store; write a function there"


def _in_store(path: str, text: str) -> Iterator[str]:
    lines = text.splitlines()
    for literal in rust.strings(text):
        if not re.search(r"\b(?:format|write|writeln)!\s*\((?:[^\"()]*,)?\s*$", text[: literal.offset - 1]):
            continue
        filled = [name.strip() for name in _FILLED.findall(literal.content)]
        constant = all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in filled)
        line = rust.line_of(text, literal.offset)
        explained = any("// SQL: " in above for above in lines[max(0, line - 3) : line - 1])
        if _FRAGMENT.search(literal.content) and not constant and not explained:
            yield f"{path}:{line}: SQL built from a value; use `?`, or say above in `// SQL: …` why it is safe"
