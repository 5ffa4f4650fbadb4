"""Files and functions that one can read: at most 600 lines a file (tests: 800), at most 80 a function."""

from __future__ import annotations

import ast
import re
from typing import Iterator

from . import rust
from .tree import Tree, is_test

FILE_LINES = 600
TEST_FILE_LINES = 800
FUNCTION_LINES = 80

_SOURCES = (".rs", ".py", ".js", ".css", ".html", ".sh")


def problems(tree: Tree) -> Iterator[str]:
    for path in tree.ending(*_SOURCES):
        limit = TEST_FILE_LINES if is_test(path) else FILE_LINES
        lines = tree.text(path).count("\n")
        if lines > limit:
            yield f"{path}: {lines} lines; split it by meaning, {limit} are enough"
    for path in tree.ending(".rs", ".py"):
        measure = _rust_functions if path.endswith(".rs") else _python_functions
        for name, line, length in measure(tree.text(path)):
            if length > FUNCTION_LINES:
                yield f"{path}:{line}: {name} has {length} lines; {FUNCTION_LINES} are enough"


def _rust_functions(text: str) -> Iterator[tuple[str, int, int]]:
    code = rust.code_only(text)
    for match in re.finditer(r"\bfn\s+(\w+)[^{;]*\{", code):
        line = rust.line_of(code, match.start())
        yield match[1], line, rust.line_of(code, rust.block_end(code, match.end() - 1)) - line + 1


def _python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1
