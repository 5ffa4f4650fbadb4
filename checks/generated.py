"""Pages that are made from code and figures are what would be made of them now."""

from __future__ import annotations

import subprocess
import sys
from typing import Iterator

from .tree import Tree

#: The modules that make them.
MODULES = ("tests/operations/capacity.py", "tests/operations/reference.py")


def problems(tree: Tree) -> Iterator[str]:
    for path in MODULES:
        if path not in tree.paths:
            continue
        module = path.removesuffix(".py").replace("/", ".")
        done = subprocess.run([sys.executable, "-m", module, "--check"], cwd=tree.root, capture_output=True, text=True)
        if done.returncode != 0:
            yield done.stderr.strip().splitlines()[-1]
