"""What a configuration overrides although nobody calls it."""

import unittest

from muster_host import members
from tests.support import FIRST_LINE, ConfigTestCase

#: Lines that define and use something, what is refused of it, and in which line.
REFUSED = [
    ("""
     class Mine(util.ChangeFilter):
         def filter_change(self, change):
             return False
     c['schedulers'].append(schedulers.AnyBranchScheduler(name='x', change_filter=Mine(project='p'), builderNames=['b']))
     """, "class Mine overrides ChangeFilter.filter_change()", 3),
    ("""
     class Mine(schedulers.AnyBranchScheduler):
         def addBuildsetForChanges(self, **kw):
             return super().addBuildsetForChanges(**kw)
     c['schedulers'].append(Mine(name='x', builderNames=['b']))
     """, "class Mine overrides AnyBranchScheduler.addBuildsetForChanges()", 3),
    ("""
     class Mine(schedulers.Triggerable):
         def reconfigService(self, *args, **kw):
             return super().reconfigService(*args, **kw)
     c['schedulers'].append(Mine(name='x', builderNames=['b']))
     """, "class Mine overrides Triggerable.reconfigService()", 3),
    ("""
     class Mine(changes.GitPoller):
         async def _process_changes(self, *args):
             pass
     c['change_source'] = Mine(repourl='https://git.example.org/r')
     """, "class Mine overrides GitPoller._process_changes()", 3),
    ("""
     class Mixin:
         def canStartBuild(self):
             return False
     class Mine(Mixin, worker.Worker):
         pass
     c['workers'].append(Mine('w2', 'pw'))
     """, "class Mixin overrides Worker.canStartBuild()", 3),
    ("""
     class Mine(worker.Worker):
         quarantine_timeout = 5
     c['workers'].append(Mine('w2', 'pw'))
     """, "class Mine overrides Worker.quarantine_timeout", 4),
    ("""
     class Mine(steps.ShellCommand):
         def startStep(self, remote):
             return None
     factory.addStep(Mine(command='x'))
     """, "step class Mine defines startStep()", 3),
    ("""
     class Mine(steps.Git):
         def patch(self, patch):
             return None
     factory.addStep(Mine('https://git.example.org/r'))
     """, "step class Mine defines patch()", 3),
    ("""
     class Mine(util.MasterLock):
         def isAvailable(self, requester, access):
             return True
     factory.addStep(steps.ShellCommand(command='x', locks=[Mine('l').access('exclusive')]))
     """, "class Mine overrides MasterLock.isAvailable()", 3),
    ("""
     class Mine(util.BuildFactory):
         def newBuild(self, requests):
             return None
     c['builders'][0].factory = Mine([steps.ShellCommand(command='x')])
     """, "class Mine overrides BuildFactory.newBuild()", 3),
    ("""
     class MyBuild:
         pass
     factory.buildClass = MyBuild
     """, "the configuration replaces BuildFactory.buildClass", 6 - FIRST_LINE + 1),
    ("""
     class Mine(util.BuilderConfig):
         def getConfigDict(self):
             return {}
     c['builders'] = [Mine(name='b', workernames=['w1'], factory=factory)]
     """, "class Mine overrides BuilderConfig.getConfigDict()", 3),
    ("""
     from buildbot.plugins import reporters
     class Mine(reporters.MailNotifier):
         def sendMessage(self, reports):
             pass
     c['services'] = [Mine('a@example.org', generators=[reporters.WorkerMissingGenerator()])]
     """, "class Mine overrides MailNotifier.sendMessage()", 4),
    ("""
     class Mine(util.StringParameter):
         def parse_from_arg(self, text):
             return text
     c['schedulers'].append(schedulers.ForceScheduler('f', ['b'], properties=[util.NestedParameter('n', fields=[Mine('p')])]))
     """, "class Mine overrides StringParameter.parse_from_arg()", 3),
    ("""
     class Mine(util.Interpolate):
         def _parse_substitution_prop(self, *args):
             return args
     factory.addStep(steps.ShellCommand(command=['x', Mine('%(prop:a)s')]))
     """, "class Mine overrides Interpolate._parse_substitution_prop()", 3),
    ("""
     c['workers'][0].canStartBuild = lambda: False
     """, "the configuration replaces Worker.canStartBuild()", 2),
]  # fmt: skip

#: What has its effect, or is the user's own business.
FINE = """
class Filter(util.ChangeFilter):
    def __init__(self, **kw):
        super().__init__(branch_re='rel', **kw)
    def helper(self):
        return 1
class Factory(util.BuildFactory):
    useProgress = False
    workdir = 'here'
    def addStep(self, step):
        super().addStep(step)
class Step(steps.ShellCommand):
    name = 'mine'
    haltOnFailure = True
    command = ['x']
    doStepIf = lambda step: True
    def __init__(self, **kw):
        super().__init__(logEnviron=False, **kw)
class Own(steps.ShellCommand):
    def makeRemoteShellCommand(self, **kw):
        return super().makeRemoteShellCommand(**kw)
class Lock(util.MasterLock):
    def access(self, mode, count=1):
        return super().access(mode, count)
class Text(util.Interpolate):
    def getRenderingFor(self, props):
        return 'x'
class Worker(worker.Worker):
    def __init__(self, name):
        super().__init__(name, 'pw')
c['workers'].append(Worker('w2'))
c['builders'][0].factory = Factory([Step(locks=[Lock('l').access('counting')], env={'A': Text('x')})])
c['schedulers'].append(schedulers.AnyBranchScheduler(name='x', change_filter=Filter(), builderNames=['b']))
"""


class Overrides(ConfigTestCase):
    def test_what_nobody_calls_is_refused_by_name_and_place(self):
        for lines, expected, line in REFUSED:
            with self.subTest(expected):
                found = self.located_errors(lines)
                self.assertEqual(len(found), 1, found)
                self.assertTrue(found[0][0].startswith(expected), found)
                self.assertIn("not supported by Muster yet", found[0][0])
                self.assertEqual(found[0][1], line)

    def test_a_patched_class_of_the_package_is_refused(self):
        kept = dict(vars(worker_class()))
        try:
            found = self.errors("worker.Worker.canStartBuild = lambda self: False")
        finally:
            if "canStartBuild" not in kept:
                del worker_class().canStartBuild
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith("the configuration replaces Worker.canStartBuild()"), found)

    def test_the_users_own_members_and_what_is_called_are_fine(self):
        self.load(FINE)

    def test_the_members_name_their_bases(self):
        for bases, _names in members.MEMBERS.values():
            for base in bases.split():
                self.assertIn(base, members.MEMBERS)


def worker_class():
    from buildbot.worker.base import Worker

    return Worker


if __name__ == "__main__":
    unittest.main()
