"""Just enough of Rust's lexical grammar to look at code without its comments and strings."""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<line>//[^\n]*)
    | (?P<block>/\*)
    | (?P<raw>\bb?c?r(?P<hashes>\#*)")
    | (?P<string>\bb?c?"|")
    | (?P<char>b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^\\'\n])')
    """,
    re.VERBOSE,
)


class Literal(NamedTuple):
    """A string literal: where its content begins and what it is, escapes untouched."""

    offset: int
    content: str


def _pieces(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of each comment and literal's content."""
    position = 0
    while match := _TOKEN.search(text, position):
        kind, start, position = match.lastgroup or "", match.start(), match.end()
        if kind == "line":
            yield "comment", start, position
        elif kind == "block":
            position = _end_of_block(text, position)
            yield "comment", start, position
        elif match["raw"]:
            closing = '"' + match["hashes"]
            end = text.find(closing, position)
            end = len(text) if end < 0 else end
            yield "string", position, end
            position = end + len(closing)
        elif kind == "string":
            end = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL).match(text, position).end()
            yield "string", position, end
            position = end + 1
        else:
            yield "char", start, position


def _end_of_block(text: str, position: int) -> int:
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(text, position):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(text)


def code_only(text: str) -> str:
    """The text with comments and the content of literals blanked; offsets and lines stay."""
    blanked, position = [], 0
    for _, start, end in _pieces(text):
        blanked.append(text[position:start])
        blanked.append(re.sub(r"[^\n]", " ", text[start:end]))
        position = end
    return "".join(blanked) + text[position:]


def strings(text: str) -> list[Literal]:
    """All string literals."""
    return [Literal(start, text[start:end]) for kind, start, end in _pieces(text) if kind == "string"]


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def block_end(code: str, opening: int) -> int:
    """Where the block whose `{` is at `opening` ends; `code` is free of comments and literals."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(code, opening):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.end()
    return len(code)


def without_tests(text: str) -> str:
    """The text with `#[cfg(test)] mod … { … }` blanked; offsets and lines stay."""
    code = code_only(text)
    for match in re.finditer(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+\w+\s*\{", code):
        end = block_end(code, match.end() - 1)
        blank = re.sub(r"[^\n]", " ", text[match.start() : end])
        text = text[: match.start()] + blank + text[end:]
    return text
