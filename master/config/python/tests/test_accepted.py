"""What the original accepts and what it refuses, where a stricter or laxer reading would be easy: each line was tried there."""

import json
import unittest

from muster_host import server
from tests.support import ConfigTestCase

ACCEPTED = [
    "util.BuildFactory().addSteps(factory.steps)",
    "factory.addStep(factory.steps[0])",
    "factory.addStep(steps.CMake(cmake=steps.CMake.DEFAULT_CMAKE))",
    "factory.addStep(steps.Git('git://x/y', locks=None)); factory.addStep(steps.ShellCommand(command='x', locks=None))",
    "c['builders'] = [util.BuilderConfig(name='b', workernames=['w1'], factory=factory, locks=None)]",
    "c['workers'] = [worker.Worker('w1', 'x', locks=None)]",
    "factory.addStep(steps.ShellCommand(command=[pathlib.Path('x'), 'y']))",
    "factory.addStep(steps.FileUpload(pathlib.Path('a'), pathlib.Path('b')))",
    "factory.addStep(steps.MakeDirectory(dir=pathlib.Path('a')))",
    "factory.workdir = pathlib.Path('z')",
    "c['builders'] = [util.BuilderConfig(name='b', workernames=['w1'], factory=factory, builddir=pathlib.Path('x'))]",
    "c['change_source'] = changes.GitPoller('git://x/y', workdir=pathlib.Path('z'))",
    "c['properties'] = {'p': pathlib.Path('x')}",
    "c['properties'] = {'p': '\\udce9'}",
    "schedulers.Nightly('n', ['b'], hour=['1', '2'], dayOfWeek='5#2')",
    "schedulers.Nightly('n', ['b'], hour=('1', 2), dayOfWeek=['mon', 'tue'])",
    "schedulers.Nightly('n', ['b'], hour={1, 2})",
    "schedulers.SingleBranchScheduler('t', builderNames=['b'])",
    "schedulers.Triggerable(name='größe', builderNames=['b'])",
    "schedulers.ForceScheduler('größe', ['b'])",
    *(
        f"schedulers.ForceScheduler('f', ['b'], reason=util.{kind}Parameter('reason'))"
        for kind in ("ChoiceString", "Boolean", "Text", "Fixed", "Int")
    ),
    "schedulers.ForceScheduler('f', ['b'], username=util.ChoiceStringParameter('username', choices=['a']))",
]

REFUSED = [
    "factory.addStep(steps.ShellCommand(command='x', workdir=pathlib.Path('y')))",
    "schedulers.ForceScheduler('a.b', ['b'])",
    "schedulers.ForceScheduler('f', ('b',))",
    "schedulers.ForceScheduler('f', ['b'], reason='x')",
    "schedulers.ForceScheduler('f', ['b'], priority=util.StringParameter('priority'))",
    "schedulers.ForceScheduler('f', ['b'], properties=(util.StringParameter('a'),))",
    "worker.Worker('w.1', 'x')",
    "factory.addStep(steps.ShellCommand)",
    "c['schedulers'].append(schedulers.AnyBranchScheduler(name='t', change_filter=util.ChangeFilter(branch_re='(x'), builderNames=['b']))",
]

_LISTS = {"schedulers.": "schedulers", "worker.": "workers"}


class AsTheOriginal(ConfigTestCase):
    def tried(self, line):
        key = next((key for start, key in _LISTS.items() if line.startswith(start)), None)
        return "import pathlib\n" + (f"c['{key}'].append({line})" if key else line)

    def test_accepted(self):
        for line in ACCEPTED:
            with self.subTest(line):
                server._line(self.load(self.tried(line)))

    def test_refused(self):
        for line in REFUSED:
            with self.subTest(line):
                self.errors(self.tried(line))

    def test_the_answer_in_pieces_is_the_whole(self):
        more = "c['builders'].append(util.BuilderConfig(name='b[]', workernames=['w1'], factory=factory, tags=['[]']))\n"
        snapshot = self.load(more + "c['schedulers'][0].builderNames.append('b[]'); c['title'] = '[]'")
        whole = server._line({"id": 1, "loaded": snapshot})
        pieces = b"".join(server._parts(1, {"loaded": dict(snapshot, builders=list(snapshot["builders"]))}))
        self.assertEqual(json.loads(pieces), json.loads(whole))
        self.assertEqual(pieces.count(b"\n"), 1)

    def test_lists_of_texts_are_one_field(self):
        snapshot = self.load(self.tried("schedulers.Nightly('n', ['b'], hour=['1', 2], minute=[5, 6])"))
        self.assertEqual(snapshot["schedulers"][1]["kind"]["at"]["hour"], "1,2")
        self.assertEqual(snapshot["schedulers"][1]["kind"]["at"]["minute"], [5, 6])

    def test_suppressions_may_be_added_by_a_class(self):
        snapshot = self.load(
            """
            class Mine(steps.Compile):
                def __init__(self, **kwargs):
                    super().__init__(**kwargs)
                    self.addSuppression([('a.c', None, None, None)])
            factory.addStep(Mine())
            """
        )
        step = snapshot["builders"][0]["factory"]["steps"][-1]
        self.assertEqual(step["args"]["suppressionList"], [["a.c", None, None, None]])

    def test_computed_fields_are_told(self):
        snapshot = self.load(
            """
            class Mine(util.ChoiceStringParameter):
                @property
                def choices(self):
                    return ['a', 'b']
            c['schedulers'].append(schedulers.ForceScheduler('f', ['b'], properties=[Mine('p')]))
            """
        )
        fields = snapshot["schedulers"][1]["kind"]["fields"]
        self.assertEqual(fields[-1]["choices"], ["a", "b"])
        self.assertIn("Mine 'p': choices is computed when the configuration is read", "\n".join(snapshot["warnings"]))


if __name__ == "__main__":
    unittest.main()
