"""The tables of docs/capacity.md, computed from the figures in docs/performance.md; `--write` puts them into the page."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from .ground import ROOT

PAGE, FIGURES = ROOT / "docs/capacity.md", ROOT / "docs/performance.md"
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
    """A figure, and where in docs/performance.md it stands."""

    name: str
    unit: str
    pattern: str

    def value(self) -> float | None:
        found = re.search(self.pattern, FIGURES.read_text())
        return float(found[1]) if found else None

    def shown(self) -> str:
        value = self.value()
        return _NOT_MEASURED if value is None else f"{value:g} {self.unit}"


BUILD = Figure("master's CPU for a build of one command, with SQLite inside", "ms", r"\| master's CPU per build \| ([\d.]+) ms")
FORCE = Figure("master's CPU for a forced build's request", "ms", r"\| master's CPU per force \| ([\d.]+) ms")
MEMORY = Figure("memory of a master before the first build", "MiB", r"\| memory before the first build \| ([\d.]+) MiB")
AFTER = Figure("memory of a master after 1100 builds", "MiB", r"\| memory after the last build \| ([\d.]+) MiB")
DATABASE = Figure("PostgreSQL's CPU for a build of one command", "ms", r"\| PostgreSQL's CPU per build \| ([\d.]+) ms")
ATTACH = Figure("gateway's CPU for a stock worker that attaches", "ms", r"\| CPU per attach \| ([\d.]+) ms")
WORKER = Figure("gateway's memory for a stock worker that idles", "KiB", r"\| memory per worker \| ([\d.]+) Ki?B")
ROUTER = Figure("router's CPU for an event that it delivers", "µs", r"\| CPU per delivered event \| ([\d.]+) µs")
FIGURE_LIST = [BUILD, FORCE, MEMORY, AFTER, DATABASE, ATTACH, WORKER, ROUTER]

_DAYS = (1_000, 10_000, 100_000, 1_000_000)
_WORKERS = (100, 1_000, 10_000)


def tables() -> dict[str, str]:
    """Each generated part by its name."""
    return {"figures": _figures(), "engines": _engines(), "gateways": _gateways()}


def _figures() -> str:
    lines = ["| figure | value |", "| --- | ---: |"]
    return "\n".join(lines + [f"| {figure.name} | {figure.shown()} |" for figure in FIGURE_LIST]) + "\n"


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
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python3 -m tests.operations.capacity --write")
    PAGE.write_text(page())
