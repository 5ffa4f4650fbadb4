"""What the documents say stands in the code, and what the code knows stands in the documents."""

from __future__ import annotations

import re
import unittest
import xml.etree.ElementTree
from pathlib import Path

from .ground import ROOT

_SVG = "{http://www.w3.org/2000/svg}"


class Pages(unittest.TestCase):
    def test_every_test_that_a_page_names_exists(self) -> None:
        sources = [*ROOT.glob("tests/**/*.rs"), *ROOT.glob("tests/**/*.py")]
        known = {name for path in sources for name in re.findall(r"\b(?:fn|def) (\w+)", path.read_text())}
        page = (ROOT / "docs/operating.md").read_text()
        rows = re.findall(r"^\|.*\| `(\w+)` \|$", page, re.MULTILINE)
        self.assertGreater(len(rows), 5)
        self.assertEqual([name for name in rows if name not in known], [])

    def test_every_page_is_reached_from_the_readme(self) -> None:
        pages = {path.resolve() for path in (ROOT / "docs").glob("*.md")}
        reached, queue = set[Path](), [ROOT / "README.md"]
        while queue:
            page = queue.pop()
            for link in re.findall(r"\]\(([^)#:]+\.md)[#)]", page.read_text()):
                target = (page.parent / link).resolve()
                if target not in reached:
                    reached.add(target)
                    queue.append(target)
        self.assertEqual(pages - reached, set())

    def test_pictures_tell_what_they_show(self) -> None:
        for path in (ROOT / "docs/images").glob("*.svg"):
            root = xml.etree.ElementTree.parse(path).getroot()
            for part in ("title", "desc"):
                found = root.find(_SVG + part)
                self.assertTrue(found is not None and found.text, f"{path.name} has no {part}")
