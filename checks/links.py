"""Links in the documents lead somewhere: files exist, headings exist."""

from __future__ import annotations

import posixpath
import re
from typing import Iterator
from urllib.parse import unquote

from .tree import Tree

_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def problems(tree: Tree) -> Iterator[str]:
    folders = {posixpath.dirname(path) for path in tree.paths}
    known = set(tree.paths) | {f for folder in folders for f in _with_parents(folder)}
    for path in tree.ending(".md"):
        text = _without_code(tree.text(path))
        for match in _LINK.finditer(text):
            target, _, anchor = match[1].partition("#")
            if _ELSEWHERE.match(target):
                continue
            file = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(target))) if target else path
            where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
            if file not in known:
                yield f"{where}: leads to {match[1]}, which is not there"
            elif anchor and file.endswith(".md") and anchor not in anchors(tree.text(file)):
                yield f"{where}: {file} has no heading for #{anchor}"


def anchors(text: str) -> set[str]:
    """The names that code hosts give to headings."""
    names = set()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", _without_code(text, inline=False), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        names.add(plain.strip().replace(" ", "-"))
    return names


def _with_parents(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = posixpath.dirname(folder)


def _without_code(text: str, inline: bool = True) -> str:
    """Blanks code, in which brackets are no links."""
    pattern = r"^```.*?^```" + (r"|`[^`\n]*`" if inline else "")
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.DOTALL | re.MULTILINE)
