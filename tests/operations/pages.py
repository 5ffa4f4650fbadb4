"""Commands that stand in the documents."""

from __future__ import annotations

import re

from .ground import ROOT


def blocks(page: str, *kinds: str) -> list[str]:
    """The shell blocks of a page: those without a kind, and those of `kinds`."""
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(r"^```sh ?([\w-]*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no commands"
    return [block for kind, block in found if kind == "" or kind in kinds]


def first_python(page: str) -> str:
    """The first lines for master.cfg on a page."""
    found = re.search(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no lines for master.cfg"
    return found[1]
