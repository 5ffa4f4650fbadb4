"""Commands and lines for master.cfg that stand in the documents."""

from __future__ import annotations

import re

from .ground import ROOT


def blocks(page: str, language: str) -> dict[str, str]:
    """The blocks of a page in that language, by the word that follows it: each has one of its own."""
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(rf"^```{language} ?([\w-]*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    names = [name for name, _ in found]
    assert "" not in names, f"{page} has a block that nobody runs: name it, and run it"
    assert len(names) == len(set(names)), f"{page} has several blocks of one name: {names}"
    return dict(found)
