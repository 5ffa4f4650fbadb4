"""What a configuration says is in force: every field of the snapshot is read outside of the crate that makes it, every key of
`BuildmasterConfig` becomes such a field, and every key of `c['www']` that is said to be used is asked for by its name."""

from __future__ import annotations

import ast
import re
from typing import Iterator

from . import rust
from .tree import Tree, is_test

_CONFIG = "master/config/"
_STRUCT = re.compile(r"^pub struct (\w+)[^{;]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^    pub (\w+):", re.MULTILINE)
#: Fields that nobody has to read, and why.
_UNREAD = {
    "WorkerConfig.keepalive_interval": "Buildbot doesn't read it, either",
    "WorkerConfig.class_name": "latent workers bring it",
    "WorkerConfig.machine_name": "machines are refused",
    "GitPollerConfig.encoding": "only UTF-8 is in force, which the load says",
    "ProtocolConfig.extra": "other keys are refused",
    "Snapshot.has_callables": "the host reads it, which is of the same crate",
    "Snapshot.caches": "there are none, which the load says",
}
#: Keys whose field has another name, or that the load itself uses up.
_FIELDS = {
    "change_source": "change_sources",
    "collapseRequests": "collapse_requests",
    "configurators": None,
    "db_url": "db",
    "secretsProviders": None,
    "services": "reporters",
    "titleURL": "title_url",
    "buildbotURL": "buildbot_url",
}


def snapshot_fields(tree: Tree) -> dict[str, str]:
    """`Struct.field` of all that a snapshot is made of, with the file."""
    fields = {}
    for path in tree.ending(".rs"):
        if path == _CONFIG + "src/snapshot.rs" or path.startswith(_CONFIG + "src/snapshot/"):
            for name, body in _STRUCT.findall(tree.text(path)):
                fields.update({f"{name}.{field}": path for field in _FIELD.findall(body)})
    return fields


def _readers(tree: Tree) -> str:
    """The code outside of the crate that makes snapshots, without tests."""
    texts = []
    for path in tree.ending(".rs"):
        if path.startswith(("master/", "worker/")) and not path.startswith(_CONFIG) and not is_test(path):
            if "/testing/" not in path and "/simulation/" not in path:
                texts.append(rust.without_tests(tree.text(path)))
    return "\n".join(texts)


def fields_read(tree: Tree) -> set[str]:
    """Those of the fields that somebody reads: by a dot, or by taking the struct apart. What the crate's own methods read
    for others counts as well."""
    own = "\n".join(rust.without_tests(tree.text(path)) for path in snapshot_files(tree))
    text = _readers(tree)
    words = set(re.findall(r"\.\s*(?:r#)?([a-z_]\w*)\b(?!\()", text)) | set(re.findall(r"self\s*\.\s*([a-z_]\w*)\b(?!\()", own))
    for taken in re.findall(r"\b[A-Z]\w+ \{([^{}]*?)\}\s*(?:=[^=]|\)|\||=>)", text):
        words.update(re.findall(r"\b([a-z_]\w*)\b", taken))
    return {field for field in snapshot_fields(tree) if field.partition(".")[2] in words}


def snapshot_files(tree: Tree) -> list[str]:
    return sorted(set(snapshot_fields(tree).values()))


def said(key: str, read: set[str]) -> str:
    """What the documentation says of a key."""
    field = _field(key)
    return "used" if field is None or f"Snapshot.{field}" in read else "NOT USED"


def _field(key: str) -> str | None:
    return _FIELDS[key] if key in _FIELDS else re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower()


def problems(tree: Tree) -> Iterator[str]:
    fields = snapshot_fields(tree)
    read = fields_read(tree)
    for field, path in sorted(fields.items()):
        if field not in read and field not in _UNREAD:
            yield f"{path}: nobody reads {field}; make it effective, or refuse it (or warn) at load"
    if _CONFIG + "python/muster_host/loaders.py" in tree.paths:
        yield from _unread_keys(tree, read)
    yield from _unread_www(tree)
    yield from _unknown_encodings(tree)


def _constant(tree: Tree, path: str, name: str) -> ast.expr | None:
    for node in ast.parse(tree.text(path)).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value
    return None


def _strings(value: ast.expr | None) -> set[str]:
    """The words of a constant, whether it is a dictionary, a tuple, or a text that is split."""
    found: set[str] = set()
    for node in ast.walk(value) if value is not None else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update(node.value.split())
    return found


def _unread_keys(tree: Tree, read: set[str]) -> Iterator[str]:
    loaders, settings = (_CONFIG + f"python/muster_host/{name}.py" for name in ("loaders", "settings"))
    without = _constant(tree, settings, "WITHOUT_EFFECT")
    keys = _strings(_constant(tree, loaders, "KNOWN")) - _strings(_constant(tree, loaders, "_NOT_YET"))
    assert isinstance(without, ast.Dict), "WITHOUT_EFFECT moved"
    keys -= {key.value for key in without.keys if isinstance(key, ast.Constant)}
    for key in sorted(keys):
        if said(key, read) != "used" and f"Snapshot.{_field(key)}" not in _UNREAD:
            yield f"{loaders}: nothing reads what the key {key} becomes (Snapshot.{_field(key)})"


def _unread_www(tree: Tree) -> Iterator[str]:
    path = _CONFIG + "python/muster_host/www.py"
    keys = _constant(tree, path, "KEYS") if path in tree.paths else None
    if not isinstance(keys, ast.Dict):
        return
    text = _readers(tree)
    for key, value in zip(keys.keys, keys.values):
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and str(value.value).startswith("used"):
            name = str(key.value)
            if f'"{name}"' not in text and not re.search(rf"\.{_field(name)}\b", text):
                yield f"{path}: nobody asks for the key {name}, which is said to be used"


def _unknown_encodings(tree: Tree) -> Iterator[str]:
    """The load takes the names of encodings that the master knows."""
    path, rust_path = _CONFIG + "python/muster_host/settings.py", "master/core/src/encoding.rs"
    if path not in tree.paths or rust_path not in tree.paths:
        return
    known = set(re.findall(r'^    \("([^"]+)", "', tree.text(rust_path), re.MULTILINE)) | {"utf-8", "ascii", "iso8859-1"}
    taken = _strings(_constant(tree, path, "ENCODINGS"))
    for name in sorted(known ^ taken):
        yield f"{path}: the encoding {name} is not both in ENCODINGS and in {rust_path}"
