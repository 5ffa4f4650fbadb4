"""Runs the checks and tells everything they found."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from . import circles, effective, generated, lengths, licences, links, lints, metrics, outside, paths, sql
from .tree import Tree

MODULES = (lengths, circles, sql, lints, links, metrics, effective, generated, paths, outside, licences)
CHECKS = {module.__name__.rpartition(".")[2]: module for module in MODULES}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        print(f"no check is named {', '.join(unknown)}; there are {', '.join(CHECKS)}", file=sys.stderr)
        return 1
    tree = Tree(Path(__file__).resolve().parent.parent)
    failed = 0
    for name in names or CHECKS:
        started = time.monotonic()
        found = list(CHECKS[name].problems(tree))
        print(f"{name:10} {'ok' if not found else f'{len(found)} problems':12} {time.monotonic() - started:5.2f} s")
        for problem in found:
            print(f"  {problem}", file=sys.stderr)
        failed += bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
