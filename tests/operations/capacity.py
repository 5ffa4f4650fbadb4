"""The tables of docs/capacity.md, computed from the figures in docs/performance.md.

`--write` puts them into the page, `--check` tells whether they are there.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from . import ground
from .ground import ROOT

PAGE, FIGURES = ROOT / "docs/capacity.md", ROOT / "docs/performance.md"
#: What a figure may be written in there, and how much of its kind that is.
_UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "KiB": 1.0, "MiB": 1024.0}
_END = "<!-- end -->\n"

#: A day's builds are not spread evenly: the busiest hour has this many times the average.
PEAK = 4
#: Commands of a build, each of which costs as much as the one of the measured build. An upper bound, since that build's
#: request, claim and end are counted with each.
COMMANDS = 10
#: Of a core, at the peak.
SHARE = 0.5

_NOT_MEASURED = "**not measured yet**"


@dataclass
class Figure:
    """A figure, and the row of a table in docs/performance.md that has it."""

    name: str
    unit: str
    row: str

    def value(self) -> float | None:
        """In its unit; nothing without such a row. The first column counts, and the first row of that name."""
        found = re.search(rf"^\| {re.escape(self.row)} \| ([^|]*)\|", FIGURES.read_text(), re.MULTILINE)
        if not found:
            return None
        number = re.match(r"\**([\d.]+) (µs|ms|s|KiB|MiB)\b", found[1])
        assert number, f"the row {self.row!r} of {FIGURES.name} has no figure that can be read: {found[1]!r}"
        return float(f"{float(number[1]) * _UNITS[number[2]] / _UNITS[self.unit]:.3g}")

    def shown(self) -> str:
        value = self.value()
        return _NOT_MEASURED if value is None else f"{value:g} {self.unit}"


BUILD = Figure("master's CPU for a build of one command, with SQLite inside", "ms", "master's CPU per build")
FORCE = Figure("master's CPU for a forced build's request", "ms", "master's CPU per force")
MEMORY = Figure("memory of a master before the first build", "MiB", "memory before the first build")
AFTER = Figure("memory of a master after many builds", "MiB", "memory after the last build")
DATABASE = Figure("PostgreSQL's CPU for a build of one command", "ms", "PostgreSQL's CPU per build")
ATTACH = Figure("gateway's CPU for a stock worker that attaches", "ms", "CPU per attach")
WORKER = Figure("gateway's memory for a stock worker that idles", "KiB", "memory per worker")
ROUTER = Figure("router's CPU for an event that it delivers", "µs", "CPU per delivered event")
FIGURE_LIST = [BUILD, FORCE, MEMORY, AFTER, DATABASE, ATTACH, WORKER, ROUTER]

_DAYS = (1_000, 10_000, 100_000, 1_000_000)
_WORKERS = (100, 1_000, 10_000)


def tables() -> dict[str, str]:
    """Each generated part by its name."""
    return {"figures": _figures(), "engines": _engines(), "gateways": _gateways()}


def _figures() -> str:
    lines = ["| figure | value |", "| --- | ---: |"]
    lines += [f"| {figure.name} | {figure.shown()} |" for figure in FIGURE_LIST]
    missing = [f"`{figure.row}`" for figure in FIGURE_LIST if figure.value() is None]
    if missing:
        lines += ["", f"No figure yet, and nothing that follows from it: no row {', '.join(missing)} in [performance](performance.md)."]
    return "\n".join(lines) + "\n"


def _engines() -> str:
    lines = ["| builds a day | builds/s at the peak | engines' CPU at the peak | PostgreSQL's CPU at the peak |"]
    lines.append("| ---: | ---: | ---: | ---: |")
    for day in _DAYS:
        peak = day / 86_400 * PEAK
        cells = [f"{day:,}".replace(",", " "), f"{peak:.2g}", _cores(peak, BUILD), _cores(peak, DATABASE)]
        lines.append(f"| {' | '.join(cells)} |")
    build = BUILD.value()
    assert build
    most = SHARE * 1000 / build / COMMANDS
    lines.append("")
    lines.append(f"One engine that may use {SHARE:.0%} of a core: {most:.0f} builds/s.".replace("%", " %"))
    return "\n".join(lines) + "\n"


def _cores(peak: float, figure: Figure) -> str:
    value = figure.value()
    return _NOT_MEASURED if value is None else f"{peak * COMMANDS * value / 1000:.2g} cores"


def _gateways() -> str:
    lines = ["| stock workers | memory | CPU when all attach at once |", "| ---: | ---: | ---: |"]
    for count in _WORKERS:
        memory, attach = WORKER.value(), ATTACH.value()
        cells = [
            f"{count:,}".replace(",", " "),
            _NOT_MEASURED if memory is None else f"{count * memory / 1024:.0f} MiB",
            _NOT_MEASURED if attach is None else f"{count * attach / 1000:.1f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with its tables as they should be."""
    text = PAGE.read_text()
    for name, table in tables().items():
        mark = f"<!-- computed: {name} -->\n"
        before, rest = text.split(mark)
        text = before + mark + table + _END + rest.split(_END, 1)[1]
    return text


if __name__ == "__main__":
    ground.write_or_check(PAGE, page(), "tests.operations.capacity")
    for figure in FIGURE_LIST:
        if figure.value() is None:
            print(f"not measured yet: no row '| {figure.row} | … {figure.unit} |' in {FIGURES.relative_to(ROOT)}", file=sys.stderr)
