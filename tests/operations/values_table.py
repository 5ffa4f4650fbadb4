"""The table of the chart's values, from its schema and its defaults; `--write` puts it into the README."""

from __future__ import annotations

import json
import sys
from typing import Any, Iterator

import yaml

from . import kube

_BEGIN, _END = "<!-- values: generated from values.schema.json -->\n", "<!-- end of values -->\n"


def table() -> str:
    """All values in the order of the schema."""
    schema = json.loads((kube.CHART / "values.schema.json").read_text())
    values = yaml.safe_load((kube.CHART / "values.yaml").read_text())
    lines = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, part, default in _rows(schema, values, ()):
        lines.append(f"| `{'.'.join(path)}` | {default} | {part['description']} |")
    lines += ["", "A group of `masters` has these besides, such as `masters.engine.replicas`:", ""]
    lines += ["| value | meaning |", "| --- | --- |"]
    own = schema["$defs"]["group"]["properties"]
    lines += [
        f"| `{name}` | {part['description']} |" for name, part in own.items() if name not in values["defaults"]
    ]
    return "\n".join(lines) + "\n"


def _rows(part: dict[str, Any], values: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any], str]]:
    for name, inner in part["properties"].items():
        if name == "global":
            continue
        value = values[name]
        if "properties" in inner:
            yield from _rows(inner, value, (*path, name))
        elif name == "masters":
            yield (name,), inner, ", ".join(f"`{group}`" for group in value)
        else:
            yield (*path, name), inner, _shown(value)


def _shown(value: Any) -> str:
    if value in ("", [], {}):
        return "empty"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _write() -> None:
    readme = kube.CHART / "README.md"
    before, rest = readme.read_text().split(_BEGIN)
    readme.write_text(before + _BEGIN + table() + _END + rest.split(_END)[1])


if __name__ == "__main__":
    _write() if sys.argv[1:] == ["--write"] else print(table(), end="")
