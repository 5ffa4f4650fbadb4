"""Waits for workers, and builds once on each: `python3 -m tests.operations.build_on URL WORKER…`, for use in a cell."""

from __future__ import annotations

import sys

from . import ground


def build_on(url: str, workers: list[str]) -> None:
    """Prints the results of each build."""
    rest = ground.Rest(url)
    for worker in workers:
        rest.worker(worker)
    requests = {worker: rest.force(f"force-{worker}") for worker in workers}
    for worker, request in requests.items():
        print(worker, [build["results"] for build in rest.builds(request)])


if __name__ == "__main__":
    build_on(sys.argv[1], sys.argv[2:])
