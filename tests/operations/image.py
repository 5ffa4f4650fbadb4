"""Carries out the last stage of the Dockerfile in a Debian root, and looks at what came of it: `make image-check`.

There need be no container engine. The first stage is not run: the binary is the one given, built with the same command.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .ground import ROOT

#: The image without the binary, which is to stay small.
_MAX_MEGABYTES = 300


def instructions() -> list[tuple[str, str]]:
    """Those of the last stage."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    found = [(word, " ".join(rest.split())) for word, rest in lines]
    last = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


class Image:
    """A root in which instructions are carried out."""

    def __init__(self, root: Path, binary: Path):
        self.root, self.binary = root, binary
        self.user, self.directory, self.env = "0:0", "/", {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.entry: list[str] = []
        self.health: list[str] = []

    def carry_out(self, word: str, rest: str) -> None:
        """One instruction."""
        print(f"{word} {rest}", flush=True)
        if word == "FROM":
            image, suite = rest.split(":")
            assert image == "debian", rest
            # What the image leaves out, now and for packages that follow.
            without = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "info", "locale", "man")]
            without += ['--aptopt=Dir::Cache::pkgcache ""', '--aptopt=Dir::Cache::srcpkgcache ""']
            options = ["--variant=minbase", "--quiet", *without, suite.removesuffix("-slim"), str(self.root)]
            subprocess.run(["mmdebstrap", *options], check=True)
            for left_over in (self.root / "var/cache/apt").glob("archives/*.deb"):
                left_over.unlink()
        elif word == "RUN":
            self.run(["sh", "-c", rest])
        elif word == "COPY":
            *flags, source, target = rest.split()
            given = self.binary if flags else ROOT / source
            place = self.root / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(given, place)
        elif word == "USER":
            self.user = rest
        elif word == "WORKDIR":
            self.directory = rest
        elif word == "ENV":
            self.env.update(pair.split("=", 1) for pair in rest.split())
        elif word == "ENTRYPOINT":
            self.entry = _words(rest)
        elif word == "HEALTHCHECK":
            self.health = _words(rest.split("CMD", 1)[1])
        else:
            assert word in ("EXPOSE", "STOPSIGNAL", "CMD"), word

    def run(self, command: list[str], check: bool = True) -> "subprocess.CompletedProcess[str]":
        """A command as the image's user, with /proc and /dev, and the machine's names."""
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        root = shlex.quote(str(self.root))
        user, group = self.user.split(":")
        mounts = f"mount -t proc proc {root}/proc; mount --rbind /dev {root}/dev"
        become = f"setpriv --reuid={user} --regid={group} --clear-groups" if user != "0" else ""
        env = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.env.items())
        inner = f"chroot {root} env -i --chdir={self.directory} {env} {become} {shlex.join(command)}"
        words = ["unshare", "--mount", "--uts", "sh", "-euc", f"{mounts}; exec {inner}"]
        return subprocess.run(words, check=check, capture_output=not check, text=True)


def _words(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def _look(image: Image) -> None:
    said = image.run([*image.entry, "--version"], check=False)
    assert said.returncode == 0 and said.stdout.startswith("muster "), said
    for command in (["create-master", "-q", "/var/lib/muster/new"], ["checkconfig", "/var/lib/muster/new"]):
        shutil.copy(ROOT / "docs/first-master.cfg", image.root / "var/lib/muster/master.cfg.example")
        if command[0] == "checkconfig":
            shutil.copy(ROOT / "docs/first-master.cfg", image.root / "var/lib/muster/new/master.cfg")
        said = image.run([*image.entry, *command], check=False)
        assert said.returncode == 0, said
    assert "uid=10001" in image.run(["id"], check=False).stdout
    assert image.run(["git", "--version"], check=False).returncode == 0
    assert image.run(image.health, check=False).returncode == 0, "what is no master is healthy while it runs"
    ready = image.run([*image.health, "ready"], check=False)
    assert ready.returncode != 0 and "no answer of the probe" in ready.stderr, ready
    size = int(subprocess.run(["du", "-smx", str(image.root)], capture_output=True, text=True, check=True).stdout.split()[0])
    size -= image.binary.stat().st_size >> 20
    print(f"the image is good: {size} MB beside the binary")
    assert size <= _MAX_MEGABYTES, size


def main(binary: str) -> None:
    """Builds it in a temporary directory, and removes it."""
    directory = Path(tempfile.mkdtemp(prefix="muster-image-"))
    directory.chmod(0o755)
    try:
        image = Image(directory / "root", Path(binary).absolute())
        for word, rest in instructions():
            image.carry_out(word, rest)
        _look(image)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main(sys.argv[1])
