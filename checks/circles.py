"""No circles: between crates, and inside a crate between modules that are siblings.

A module and the modules inside it may know each other: together they are one thing. Names are followed through
re-exports (`pub use`), so that `crate::Error` counts for the module that declares it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Iterator

from . import rust
from .tree import Tree

Module = tuple[str, ...]

# Circles that are there for a reason: (source folder, modules) -> the reason. One that is gone must leave this list.
KNOWN: dict[tuple[str, frozenset[str]], str] = {
    ("master/core/src/", frozenset({"render::interpolate", "render::value"})): (
        "one recursive type in two files: a renderable may be an interpolation, which holds renderables"
    ),
}


def problems(tree: Tree) -> Iterator[str]:
    manifests = [path for path in tree.ending("Cargo.toml") if "/" in path]
    yield from _crate_circles([tree.text(path) for path in manifests])
    sources = [manifest.removesuffix("Cargo.toml") + "src/" for manifest in manifests]
    seen = set()
    for source in sources:
        for circle in _Crate(tree, source).circles():
            key = (source, frozenset(circle))
            seen.add(key)
            if key not in KNOWN:
                yield f"{source}: modules in a circle: {' -> '.join(circle)}"
    for source, modules in KNOWN.keys() - seen:
        if source in sources:
            yield f"{source}: {', '.join(sorted(modules))} are in no circle any more; remove them from KNOWN"


def _crate_circles(manifests: list[str]) -> Iterator[str]:
    """Cargo refuses circles of plain dependencies itself, but lets those through `dev-dependencies` pass."""
    uses: dict[str, set[str]] = {}
    for text in manifests:
        # Every manifest of this workspace writes one key a line, so no TOML parser is needed (Python 3.9 has none).
        tables = re.split(r"^\[([\w.-]+)\]$", text, flags=re.MULTILINE)
        content = dict(zip(tables[1::2], tables[2::2]))
        name = re.search(r"^name = [\"'](.+?)[\"']", content.get("package", ""), re.MULTILINE)
        if name:
            lists = "".join(body for table, body in content.items() if table.endswith("dependencies"))
            uses[name[1]] = set(re.findall(r"^([\w-]+)\s*[.=]", lists, re.MULTILINE))
    own = {name: used & uses.keys() for name, used in uses.items()}
    for circle in find_circles(own):
        yield f"crates in a circle: {' -> '.join(circle)}"


def find_circles(uses: dict[str, set[str]]) -> Iterator[list[str]]:
    """Each circle once, beginning and ending with the same name."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> Iterator[list[str]]:
        if node in trail:
            yield trail[trail.index(node) :] + [node]
            return
        if node in done:
            return
        for other in sorted(uses.get(node, ())):
            yield from visit(other, trail + [node])
        done.add(node)

    for start in sorted(uses):
        yield from visit(start, [])


class _Crate:
    """The modules of one crate and what they use of each other."""

    def __init__(self, tree: Tree, source: str):
        self.code: dict[Module, str] = {}
        for path in tree.ending(".rs"):
            if path.startswith(source) and not path.startswith(source + "bin/"):
                self.code[_module_of(path[len(source) :])] = rust.code_only(rust.without_tests(tree.text(path)))
        tests = [module for module in self.code if "tests" in module]
        for module in tests:
            del self.code[module]
        self.imports = {module: list(_imports(code)) for module, code in self.code.items()}
        self.declared = {module: _declared(code) for module, code in self.code.items()}

    def circles(self) -> Iterator[list[str]]:
        uses: dict[Module, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for module, code in self.code.items():
            for path in [path for path, _ in self.imports[module]] + list(_inline_paths(code)):
                target = self._resolve(module, path)
                if target is not None:
                    _note(uses, module, target)
        for parent in sorted(uses):
            for circle in find_circles(uses[parent]):
                yield ["::".join((*parent, name)) for name in circle]

    def _resolve(self, module: Module, path: list[str], depth: int = 0) -> Module | None:
        """The module in which what `path` names, seen from `module`, is declared."""
        start = self._start(module, path)
        if start is None or depth > 8:  # A longer chain of re-exports than anybody writes: give up.
            return None
        here, rest = start
        while rest and (*here, rest[0]) in self.code:
            here, rest = (*here, rest[0]), rest[1:]
        if not rest or rest[0] in self.declared.get(here, set()):
            return here
        for imported, name in self.imports.get(here, []):
            if name == rest[0]:
                return self._resolve(here, imported, depth + 1)
        for imported, name in self.imports.get(here, []):
            if name == "*":
                found = self._resolve(here, imported[:-1] + [rest[0]], depth + 1)
                if found is not None and rest[0] in self.declared.get(found, set()):
                    return found
        return here

    def _start(self, module: Module, path: list[str]) -> tuple[Module, list[str]] | None:
        if path[0] == "crate":
            return (), path[1:]
        if path[0] == "self":
            return module, path[1:]
        if path[0] == "super":
            here = module
            while path and path[0] == "super":
                here, path = here[:-1], path[1:]
            return here, path
        return (module, path) if (*module, path[0]) in self.code else None


def _note(uses: dict[Module, dict[str, set[str]]], module: Module, target: Module) -> None:
    """An edge between the two siblings under which `module` and `target` part ways."""
    common = 0
    while common < min(len(module), len(target)) and module[common] == target[common]:
        common += 1
    if common < len(module) and common < len(target):
        uses[module[:common]][module[common]].add(target[common])


def _module_of(path: str) -> Module:
    parts = path.removesuffix(".rs").split("/")
    if parts[-1] == "mod" or parts in (["lib"], ["main"]):
        parts = parts[:-1]
    return tuple(parts)


def _declared(code: str) -> set[str]:
    pattern = r"\b(?:fn|struct|enum|union|trait|type|const|static|macro_rules!)\s+(\w+)"
    return set(re.findall(pattern, code))


def _imports(code: str) -> Iterator[tuple[list[str], str]]:
    """(path, name it gets here) of everything that `use` brings in."""
    for match in re.finditer(r"\buse\s+([^;]+);", code):
        yield from _flatten("", re.sub(r"\s+", " ", match[1]).strip())


def _flatten(prefix: str, text: str) -> Iterator[tuple[list[str], str]]:
    opening = text.find("{")
    if opening >= 0:
        prefix += text[:opening]
        for part in _split(text[opening + 1 : text.rfind("}")]):
            yield from _flatten(prefix, part)
        return
    path, _, alias = (prefix + text).partition(" as ")
    parts = [part.strip() for part in path.split("::") if part.strip()]
    if len(parts) > 1 and parts[-1] == "self":
        parts.pop()
    if parts:
        yield parts, alias.strip() or parts[-1]


def _split(text: str) -> list[str]:
    """Parts of a braced list, at commas that are not inside inner braces."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [part.strip() for part in [*parts, current] if part.strip()]


def _inline_paths(code: str) -> Iterator[list[str]]:
    without_use = re.sub(r"\buse\s+[^;]+;", "", code)
    for match in re.finditer(r"(?<![\w:])(?:crate|super|self|[a-z_]\w*)(?:::\w+)+", without_use):
        yield match[0].split("::")
