"""The files of the project, as git sees them."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path


class Tree:
    """The files below `root` that are tracked or could be (not ignored)."""

    def __init__(self, root: Path):
        self.root = root

    @functools.cached_property
    def paths(self) -> list[str]:
        """All files, relative to the root, sorted."""
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=self.root, capture_output=True, check=True, text=True)
        names = {name for name in listed.stdout.split("\0") if name}
        return sorted(name for name in names if (self.root / name).is_file())

    def ending(self, *suffixes: str) -> list[str]:
        return [path for path in self.paths if path.endswith(suffixes)]

    @functools.cache
    def text(self, path: str) -> str:
        """The file's text; empty for a binary file."""
        try:
            return (self.root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return ""


def is_test(path: str) -> bool:
    """Whether a file holds nothing but tests."""
    parts = path.split("/")
    return "tests" in parts[:-1] or parts[-1] in ("tests.rs", "bench.rs") or parts[-1].startswith("test_")
