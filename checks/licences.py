"""The licence of every dependency can be combined with GPL-2.0-or-later.

Security advisories need the RustSec database from the network: `cargo deny check` reads `deny.toml` for that.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Iterator

from .tree import Tree

# Apache-2.0 and MPL-2.0 go together with version 3 of the GPL, which "or later" lets everybody choose.
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "GPL-2.0-or-later", "ISC", "MIT",
    "MIT-0", "MPL-2.0", "Unicode-3.0", "Unlicense", "Zlib",
    # A BSD-like licence of one library, and a permissive one of data: the list of certificate authorities.
    "bzip2-1.0.6", "CDLA-Permissive-2.0",
}  # fmt: skip
_EXCEPTIONS = {"LLVM-exception"}


def problems(tree: Tree) -> Iterator[str]:
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    result = subprocess.run(command, cwd=tree.root, capture_output=True, text=True, check=False)
    if result.returncode:
        yield f"cargo metadata failed: {result.stderr.strip()}"
        return
    for package in json.loads(result.stdout)["packages"]:
        name, licence = f"{package['name']} {package['version']}", package["license"]
        if not licence:
            yield f"{name} names no licence in its manifest"
        elif not allowed(licence):
            yield f"{name} is under {licence}, which checks/licences.py does not allow"


def allowed(expression: str) -> bool:
    """Whether an SPDX expression leaves a choice that is in `ALLOWED`. `/` is the old way to write OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    value, rest = _any(tokens)
    if rest:
        raise ValueError(f"not an SPDX expression: {expression}")
    return value


def _any(tokens: list[str]) -> tuple[bool, list[str]]:
    value, rest = _all(tokens)
    while rest[:1] == ["OR"]:
        other, rest = _all(rest[1:])
        value = value or other
    return value, rest


def _all(tokens: list[str]) -> tuple[bool, list[str]]:
    value, rest = _one(tokens)
    while rest[:1] == ["AND"]:
        other, rest = _one(rest[1:])
        value = value and other
    return value, rest


def _one(tokens: list[str]) -> tuple[bool, list[str]]:
    if not tokens:
        raise ValueError("an SPDX expression ends too early")
    if tokens[0] == "(":
        value, rest = _any(tokens[1:])
        return value, rest[1:]
    value, rest = tokens[0] in ALLOWED, tokens[1:]
    if rest[:1] == ["WITH"]:
        value, rest = value and rest[1] in _EXCEPTIONS, rest[2:]
    return value, rest
