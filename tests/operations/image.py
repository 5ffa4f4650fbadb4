"""Carries out the Dockerfile in Debian roots, and looks at what came of it: `make image-check`.

There need be no container engine. With a binary, only the last stage is carried out, around it. Without one the first stage
builds it: in a root of its own, with the toolchain of that release that `rustup` has here, as the image of Rust has one. What
that image has besides is missing in the root, so that the Dockerfile can't rely on it.
"""

from __future__ import annotations

import posixpath
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Sequence

from .ground import ROOT

#: The image without the binary, which is to stay small.
_MAX_MEGABYTES = 300


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    found = [(word, " ".join(rest.split())) for word, rest in lines]
    begins = [index for index, (word, _) in enumerate(found) if word == "FROM"]
    return [found[begin:end] for begin, end in zip(begins, [*begins[1:], len(found)])]


class Image:
    """A root in which instructions are carried out."""

    def __init__(self, root: Path, binary: Path | None, cache: Path):
        self.root, self.binary, self.cache = root, binary, cache
        self.user, self.directory, self.env = "0:0", "/", {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.entry: list[str] = []
        self.health: list[str] = []

    def carry_out(self, word: str, rest: str) -> None:
        """One instruction."""
        print(f"{word} {rest}", flush=True)
        if word == "FROM":
            image, tag = rest.removesuffix(" AS build").split(":")
            assert image in ("debian", "rust"), rest
            suite = tag.removesuffix("-slim").split("-")[-1]
            # What the image leaves out, now and for packages that follow.
            without = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "info", "locale", "man")]
            without += ['--aptopt=Dir::Cache::pkgcache ""', '--aptopt=Dir::Cache::srcpkgcache ""']
            options = ["--variant=minbase", "--quiet", *without, suite, str(self.root)]
            subprocess.run(["mmdebstrap", *options], check=True)
            for left_over in (self.root / "var/cache/apt").glob("archives/*.deb"):
                left_over.unlink()
            if image == "rust":
                self._put_toolchain(tag.split("-")[0])
        elif word == "RUN":
            words = rest.split()
            flags = [each for each in words if each.startswith("--mount=type=cache,target=")]
            self.run(["sh", "-c", " ".join(words[len(flags) :])], caches=[flag.split("target=")[1] for flag in flags])
        elif word == "COPY":
            *flags, source, target = rest.split()
            place = self.root / posixpath.join(self.directory, target).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if source == ".":
                shutil.copytree(ROOT, place, ignore=_ignored, dirs_exist_ok=True, symlinks=True)
            else:
                assert self.binary or not flags
                shutil.copy(self.binary if flags else ROOT / source, place)
        elif word == "USER":
            self.user = rest
        elif word == "WORKDIR":
            self.directory = rest
            (self.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "ENV":
            self.env.update(pair.split("=", 1) for pair in rest.split())
        elif word == "ENTRYPOINT":
            self.entry = _words(rest)
        elif word == "HEALTHCHECK":
            self.health = _words(rest.split("CMD", 1)[1])
        else:
            assert word in ("EXPOSE", "STOPSIGNAL", "CMD"), word

    def _put_toolchain(self, release: str) -> None:
        listed = subprocess.run(["rustup", "toolchain", "list"], check=True, capture_output=True, text=True).stdout.split()
        names = [name for name in listed if name.startswith((f"{release}.", f"{release}-"))]
        assert names, f"the toolchain is missing: rustup toolchain install --profile minimal {release}"
        command = ["rustup", "run", names[-1], "rustc", "--print", "sysroot"]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        shutil.copytree(found.stdout.strip(), self.root / "usr/local/rust", symlinks=True)
        self.env["PATH"] += ":/usr/local/rust/bin"
        self.env["CARGO_HOME"] = "/usr/local/cargo"
        # That image has these; and this machine may trust more than others do.
        bundle = Path("/etc/ssl/certs/ca-certificates.crt")
        (self.root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
        shutil.copy(bundle, self.root / "etc/ssl/certs")
        self.env["CARGO_HTTP_CAINFO"] = str(bundle)

    def run(self, command: list[str], check: bool = True, caches: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        """A command as the image's user, with /proc and /dev, and the machine's names."""
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        root = shlex.quote(str(self.root))
        user, group = self.user.split(":")
        mounts = f"mount -t proc proc {root}/proc; mount --rbind /dev {root}/dev"
        for place in caches:
            kept = self.cache / place.strip("/").replace("/", "-")
            kept.mkdir(parents=True, exist_ok=True)
            (self.root / place.strip("/")).mkdir(parents=True, exist_ok=True)
            mounts += f"; mount --bind {shlex.quote(str(kept))} {root}{shlex.quote(place)}"
        become = f"setpriv --reuid={user} --regid={group} --clear-groups" if user != "0" else ""
        env = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.env.items())
        inner = f"chroot {root} env -i --chdir={self.directory} {env} {become} {shlex.join(command)}"
        words = ["unshare", "--mount", "--uts", "sh", "-euc", f"{mounts}; exec {inner}"]
        return subprocess.run(words, check=check, capture_output=not check, text=True)


def _ignored(directory: str, names: list[str]) -> set[str]:
    """What .dockerignore leaves out."""
    patterns = (ROOT / ".dockerignore").read_text().split()
    below = Path(directory).relative_to(ROOT)
    left_out = set()
    for name in names:
        path = str(below / name)
        if any(fnmatch(name, pattern[3:]) if pattern.startswith("**/") else fnmatch(path, pattern) for pattern in patterns):
            left_out.add(name)
    return left_out


def _words(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def _look(image: Image, binary: Path) -> None:
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
    size -= binary.stat().st_size >> 20
    print(f"the image is good: {size} MB beside the binary")
    assert size <= _MAX_MEGABYTES, size


def main(binary: str | None) -> None:
    """Builds it in a temporary directory, and removes it."""
    directory = Path(tempfile.mkdtemp(prefix="muster-image-"))
    directory.chmod(0o755)
    cache = ROOT / "target/image-cache"
    try:
        first, last = stages()
        built = Path(binary).absolute() if binary else None
        if built is None:
            builder = Image(directory / "build", None, cache)
            for word, rest in first:
                builder.carry_out(word, rest)
            built = directory / "build/out/muster"
        image = Image(directory / "root", built, cache)
        for word, rest in last:
            image.carry_out(word, rest)
        _look(image, built)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
