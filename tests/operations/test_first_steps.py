"""Who follows docs/first-steps.md has a master, a worker and a build."""

from __future__ import annotations

import unittest
from pathlib import Path

from . import ground, pages
from .cells import Network

_PAGE = "first-steps.md"
#: What the page wants to be changed in the example.
_CHANGES = {
    '"https://git.example.org/project.git"': '"/srv/repository"',
    '"change-me"': '"the password"',
    '"git show --stat HEAD"': '"cat file"',
    '"tcp:8010:interface=127.0.0.1"': '"8010"',
}


class FirstSteps(unittest.TestCase):
    def setUp(self) -> None:
        self.network = Network()
        self.addCleanup(self.network.close)

    def test_the_commands_of_the_page_lead_to_a_build(self) -> None:
        self.cell = self.network.cell("machine")
        self.cell.bind(Path(ground.muster()), "/tmp/bin/muster")
        with self.network.told():
            self._follow()

    def _follow(self) -> None:
        todo = pages.blocks(_PAGE, "sh")
        self._run("""
            mkdir /srv/repository
            cd /srv/repository
            git init --quiet --initial-branch=main
            echo first > file
            git add file
            git -c user.name=Somebody -c user.email=somebody@example.org commit --quiet -m first
        """)
        self._run(todo.pop("create"))
        config = self.cell.root / "srv/ci/master/master.cfg"
        text = config.read_text()
        for old, new in _CHANGES.items():
            self.assertIn(old, text, "the page says where this is")
            text = text.replace(old, new)
        config.write_text(text)
        self._run(todo.pop("start"))
        self.cell.start(["sh", "-euc", todo.pop("worker")], self._env())
        rest = ground.Rest(f"http://{self.cell.address}:8010")
        rest.worker("worker-1")
        self.assertEqual([build["results"] for build in rest.builds(rest.force("force"))], [0])
        self._run(todo.pop("reconfig"))
        self._run("muster stop ~/ci/master")
        self.assertEqual(todo, {}, "every command of the page was run")

    def _env(self) -> dict[str, str]:
        return {"HOME": "/srv", "PATH": "/tmp/bin:/usr/local/bin:/usr/bin:/bin"}

    def _run(self, script: str) -> None:
        # A master in the background must not hold the output open.
        self.cell.run(["sh", "-euc", f"({script}) > /tmp/said 2>&1 || {{ cat /tmp/said; exit 1; }}"], self._env(), cwd="/srv")
