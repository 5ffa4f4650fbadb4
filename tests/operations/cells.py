"""Cells: processes with a network of their own, files of their own and names for each other, as containers have them.

Configurations that operators install run here as they are, with their real names, ports and paths. It takes root, and
a kernel that lets root make network namespaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Iterator

from .ground import Process, last_lines, until

#: What a cell has of its own; everything else at the top of the file system is the machine's.
_OWN = ("etc", "home", "run", "srv", "tmp", "var")
#: For benchmarks of networks (RFC 2544), so nobody's real network.
_NETWORK = "198.18.{}.{}"


def run(*command: str) -> str:
    """Runs a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}{done.stdout}"
    return done.stdout


class Network:
    """A bridge with cells on it. The test itself reaches each of them by its address."""

    def __init__(self) -> None:
        assert os.geteuid() == 0, "cells need root: network namespaces and mounts"
        self.directory = Path(tempfile.mkdtemp(prefix="muster-cells-"))
        self.directory.chmod(0o755)
        self.mark = f"m{os.getpid() % 100000}"
        self.cells: dict[str, Cell] = {}
        self.hosts: dict[str, str] = {}
        run("cp", "-a", "/etc", str(self.directory))
        run("ip", "link", "add", self.mark, "type", "bridge")
        with (Path(tempfile.gettempdir()) / "muster-cells.lock").open("w") as lock:
            # Others look for a free block, too.
            fcntl.flock(lock, fcntl.LOCK_EX)
            taken = run("ip", "-o", "-4", "address")
            self.block = next(block for block in range(250) if f" {_NETWORK.format(block, 1)}/" not in taken)
            run("ip", "address", "add", f"{self._address(1)}/24", "dev", self.mark)
        run("ip", "link", "set", self.mark, "up")

    def _address(self, number: int) -> str:
        return _NETWORK.format(self.block, number)

    def cell(self, name: str, aliases: tuple[str, ...] = ()) -> "Cell":
        """A new cell; the others reach it by its name."""
        number = len(self.cells) + 10
        cell = Cell(self, name, number, self._address(number))
        self.cells[name] = cell
        self.hosts.update({alias: cell.address for alias in (name, *aliases)})
        lines = ["127.0.0.1 localhost", *(f"{address} {host}" for host, address in self.hosts.items())]
        for each in self.cells.values():
            each.write("/etc/hosts", "\n".join(lines) + "\n")
        return cell

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What fails inside is told with the last words of all processes."""
        try:
            yield
        except BaseException:
            for cell in self.cells.values():
                for process in cell.processes:
                    print(f"---- {process.log.name}, {process.status()}\n{process.last()}")
                # Of those that went into the background.
                for log in sorted((cell.root / "srv").rglob("*.log")):
                    print(f"---- {log.relative_to(self.directory)}\n{last_lines(log)}")
            raise

    def close(self) -> None:
        """Ends everything."""
        for cell in self.cells.values():
            cell.close()
        run("ip", "link", "del", self.mark)
        shutil.rmtree(self.directory)


class Cell:
    """One of them. Files that its processes write lie below `root`."""

    def __init__(self, network: Network, name: str, number: int, address: str):
        self.name, self.address, self.network = name, address, network
        self.namespace = f"{network.mark}-{number}"
        self.root = network.directory / name
        self.binds: list[tuple[Path, str]] = []
        self.processes: list[Process] = []
        for own in _OWN:
            (self.root / own).mkdir(parents=True)
        (self.root / "tmp").chmod(0o1777)
        # Links cost next to nothing; `write` is the one that changes a file.
        run("cp", "-al", f"{network.directory}/etc", str(self.root))
        # Here and not at each start: processes that start at the same time would get in each other's way.
        self.shared: list[str] = []
        for entry in sorted(Path("/").iterdir()):
            if entry.is_symlink():
                (self.root / entry.name).symlink_to(entry.readlink())
            elif entry.is_dir() and entry.name not in _OWN:
                (self.root / entry.name).mkdir()
                self.shared.append(entry.name)
        outside = f"{network.mark}o{number}"
        script = f"""
            ip netns add {self.namespace}
            ip link add {outside} type veth peer name eth0 netns {self.namespace}
            ip link set {outside} master {network.mark} up
            ip -n {self.namespace} link set lo up
            ip -n {self.namespace} address add {address}/24 dev eth0
            ip -n {self.namespace} link set eth0 up
        """
        run("sh", "-euc", script)

    def write(self, place: str, text: str) -> None:
        """Writes a file of the cell's own."""
        path = self.root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)

    def bind(self, source: Path, place: str) -> None:
        """Makes a file or directory appear in the cell."""
        assert source.exists(), f"{source} is missing"
        if place.split("/")[1] in _OWN:
            # Here, as above: a process that made it at its start would take it away from one that starts beside it.
            target = self._outside(place)
            (target if source.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
            if not source.is_dir():
                target.touch()
        else:
            assert source == Path(place), f"{place} would be made outside of the cell"
        self.binds.append((source, place))

    def _outside(self, place: str) -> Path:
        """Where the machine has what the cell has at `place`."""
        for source, above in reversed(self.binds):
            if Path(place).is_relative_to(above):
                return source / Path(place).relative_to(above)
        return self.root / place.lstrip("/")

    def command(self, command: list[str], env: dict[str, str], user: int | None = None, cwd: str = "/") -> list[str]:
        """The command, to be run in the cell."""
        root = shlex.quote(str(self.root))
        lines = ["set -e", "mount --make-rprivate /", f"hostname {self.name}"]
        lines += [f"mount --rbind /{name} {root}/{name}" for name in self.shared]
        lines += [f"mount --bind {shlex.quote(str(source))} {root}{shlex.quote(place)}" for source, place in self.binds]
        become = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        environment = [f"{name}={value}" for name, value in env.items()]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        words = ["env", "-i", f"--chdir={cwd}", path, *environment, *become, *command]
        lines.append(f'exec chroot {root} "$@"')
        script = self.root.with_name(f"{self.name}.sh")
        text = "\n".join(lines) + "\n"
        # Another process may just be reading the old one.
        fresh = script.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(script)
        return ["ip", "netns", "exec", self.namespace, "unshare", "--mount", "--uts", "sh", str(script), *words]

    def start(self, command: list[str], env: dict[str, str] | None = None, **more: Any) -> Process:
        """Starts a process."""
        log = self.network.directory / f"{self.name}-{len(self.processes)}.log"
        process = Process(self.command(command, env or {}, **more), log)
        self.processes.append(process)
        return process

    def run(self, command: list[str], env: dict[str, str] | None = None, **more: Any) -> str:
        """Runs a command to its end, which must be good."""
        return run(*self.command(command, env or {}, **more))

    def close(self) -> None:
        """Ends its processes, also those that they left behind."""
        for process in self.processes:
            process.kill()
        until(f"the end of what runs in {self.name}", self._is_empty)
        run("ip", "netns", "del", self.namespace)

    def _is_empty(self) -> bool:
        """Ends what it finds: it may just have made more of its kind."""
        found = run("ip", "netns", "pids", self.namespace).split()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        return not found
