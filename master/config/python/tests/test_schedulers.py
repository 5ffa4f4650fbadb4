"""Schedulers, force forms, change sources and filters."""

import re
import unittest
from types import SimpleNamespace

from buildbot.plugins import changes, schedulers, util, worker
from muster_host.encode import Encoder, Functions
from tests.support import errors_of, properties


def data(item):
    return item.as_data(Encoder(Functions(), "item"))


class Schedulers(unittest.TestCase):
    def test_single_branch(self):
        made = data(schedulers.SingleBranchScheduler(name="s", branch=None, builderNames=["b"], treeStableTimer=60))
        self.assertEqual(made["kind"]["kind"], "single_branch")
        self.assertEqual(made["kind"]["tree_stable_timer"], 60)
        self.assertEqual(made["properties"], {"scheduler": "s"})
        self.assertEqual(made["codebases"], {"": {}})
        branch = {"attribute": "branch", "test": {"eq": [None]}}
        self.assertEqual(made["kind"]["change_filter"]["checks"], [branch])

    def test_codebases(self):
        made = data(schedulers.Triggerable("t", ["b"], codebases={"x": {"repository": "r", "branch": None}}))
        self.assertEqual(made["codebases"], {"x": {"repository": "r"}})

    def test_nightly(self):
        made = data(schedulers.Nightly("n", ["b"], hour=[1, 2], dayOfWeek="1-5", force_at_hour=4))["kind"]
        self.assertEqual((made["at"]["hour"], made["at"]["day_of_week"]), ([1, 2], "1-5"))
        self.assertEqual((made["force_at"]["minute"], made["force_at"]["hour"]), (0, 4))
        self.assertEqual(made["branch"], "any")

    def test_priority(self):
        def by_branch(names, changes):
            return 1

        self.assertEqual(data(schedulers.Triggerable("t", ["b"]))["priority"], "default")
        self.assertEqual(data(schedulers.Triggerable("t", ["b"], priority=5))["priority"], {"fixed": 5})
        self.assertIn("callable", data(schedulers.Triggerable("t", ["b"], priority=by_branch))["priority"])

    def test_errors(self):
        names = errors_of(lambda: schedulers.Triggerable("t", "b"))
        self.assertTrue(names[0].startswith("The builderNames argument to a scheduler must be a list"))
        self.assertEqual(
            errors_of(lambda: schedulers.Periodic("p", ["b"], periodicBuildTimer=0)),
            ["periodicBuildTimer must be positive"],
        )
        self.assertEqual(
            errors_of(lambda: schedulers.Triggerable("t", ["b"], codebases={"x": {"foo": 1}})),
            ["Unknown codebase keys foo for codebase x"],
        )
        self.assertEqual(
            errors_of(lambda: schedulers.AnyBranchScheduler("s", builderNames=["b"], treeStableTimer="5m")),
            ["scheduler 's': treeStableTimer must be a number of seconds, not '5m'"],
        )
        with self.assertRaisesRegex(TypeError, "foo"):
            schedulers.Triggerable("t", ["b"], foo=1)


class ForceForms(unittest.TestCase):
    def form(self, **kwargs):
        return data(schedulers.ForceScheduler(name="force", builderNames=["b"], **kwargs))["kind"]

    def test_default_form(self):
        made = self.form()
        self.assertEqual((made["button_name"], made["label"]), ("force", "force"))
        who, what = made["fields"]
        self.assertEqual([field["name"] for field in who["fields"]], ["username", "reason", "priority"])
        self.assertEqual(who["fields"][1]["default"], "force build")
        self.assertEqual(what["kind"], "codebase")
        self.assertEqual([f["name"] for f in what["fields"]], ["branch", "project", "repository", "revision"])

    def test_names_of_groups_are_put_before(self):
        inner = util.NestedParameter(name="inner", fields=[util.StringParameter(name="deep")])
        made = self.form(properties=[util.NestedParameter(name="outer", fields=[inner])])
        field = made["fields"][2]["fields"][0]["fields"][0]
        self.assertEqual(field["full_name"], "outer_inner_deep")
        self.assertEqual(field["spec"]["fullName"], "outer_inner_deep")

    def test_choices(self):
        choice = util.ChoiceStringParameter(name="c", choices=["a", "b"], default="a", strict=True)
        field = self.form(properties=[choice])["fields"][2]
        self.assertEqual((field["kind"], field["choices"], field["strict"]), ("choice", ["a", "b"], True))
        self.assertEqual(field["spec"]["type"], "list")

    def test_errors(self):
        self.assertEqual(
            errors_of(lambda: schedulers.ForceScheduler(name="a b", builderNames=["b"])),
            ["ForceScheduler name must be an identifier: 'a b'"],
        )
        self.assertEqual(
            errors_of(lambda: schedulers.ForceScheduler(name="a.b", builderNames=["b"])),
            ["ForceScheduler name must be an identifier: 'a.b'"],
        )
        self.assertEqual(errors_of(lambda: schedulers.ForceScheduler(name="bäume" * 60, builderNames=["b"])), [])
        self.assertEqual(
            errors_of(lambda: util.StringParameter(name="owner")),
            ["owner cannot be used as a parameter name, because it is reserved"],
        )


class ChangeSources(unittest.TestCase):
    def test_branches(self):
        self.assertEqual(data(changes.GitPoller("x"))["kind"]["branches"], "default")
        self.assertEqual(data(changes.GitPoller("x", branches=True))["kind"]["branches"], "all")
        self.assertEqual(data(changes.GitPoller("x", branch="m"))["kind"]["branches"], {"names": ["m"]})
        self.assertIn("callable", data(changes.GitPoller("x", branches=lambda ref: True))["kind"]["branches"])

    def test_errors(self):
        self.assertEqual(
            errors_of(lambda: changes.GitPoller("x", branch="a", branches=["b"])),
            ["GitPoller: can't specify both branch and branches"],
        )
        self.assertEqual(
            errors_of(lambda: changes.GitPoller("x", pollRandomDelayMax=3000)),
            ["max random delay must be < 600: 3000"],
        )
        with self.assertRaisesRegex(TypeError, "pollinterval"):
            changes.GitPoller("x", pollinterval=3)

    def test_sent_changes(self):
        source = data(changes.PBChangeSource(user="u", port=9999, prefix="trunk/"))
        self.assertEqual(source["name"], "PBChangeSource:trunk/:9999")
        self.assertEqual(
            {key: value for key, value in source["kind"].items() if key != "password"},
            {"kind": "pb", "user": "u", "port": "9999", "prefix": "trunk/"},
        )
        self.assertEqual(data(changes.PBChangeSource())["name"], "PBChangeSource:None")
        self.assertEqual(
            errors_of(lambda: changes.PBChangeSource(port=[])),
            ["PBChangeSource: port must be a number or a string: []"],
        )


class Filters(unittest.TestCase):
    def selects(self, change_filter, **change):
        values = {"project": "", "repository": "", "branch": None, "category": None, "codebase": ""}
        change = SimpleNamespace(**{**values, **change}, properties=properties(level=change.pop("level", "")))
        return change_filter.filter_change(change)

    def test_all_conditions_must_hold(self):
        wanted = util.ChangeFilter(branch=["main", None], project_re="lib")
        self.assertTrue(self.selects(wanted, branch=None, project="library"))
        self.assertFalse(self.selects(wanted, branch="dev", project="library"))
        self.assertFalse(self.selects(wanted, branch="main", project="a lib"))

    def test_none_never_matches_a_pattern(self):
        self.assertFalse(self.selects(util.ChangeFilter(branch_re=".*")))
        self.assertTrue(self.selects(util.ChangeFilter(branch_not_re=".*")))

    def test_properties_and_functions(self):
        self.assertTrue(self.selects(util.ChangeFilter(property_eq={"level": "high"}), level="high"))
        self.assertFalse(self.selects(util.ChangeFilter(filter_fn=lambda change: change.branch == "x"), branch="y"))

    def test_flags_of_patterns_are_kept(self):
        made = util.ChangeFilter(branch_re=re.compile("MAIN", re.I)).as_data(Encoder(Functions(), "f"))
        self.assertEqual(made["checks"], [{"attribute": "branch", "test": {"re": ["(?i:MAIN)"]}}])

    def test_bad_values(self):
        with self.assertRaisesRegex(ValueError, "branch_eq"):
            util.ChangeFilter(branch=3)
        with self.assertRaisesRegex(TypeError, "foo"):
            util.ChangeFilter(foo=3)


class Workers(unittest.TestCase):
    def test_what_configurations_look_at(self):
        made = worker.Worker("w", "p", properties={"os": "linux"}, max_builds=2, notify_on_missing="a@b")
        self.assertEqual((made.workername, made.properties.getProperty("os")), ("w", "linux"))
        self.assertEqual((data(made)["max_builds"], data(made)["notify_on_missing"]), (2, ["a@b"]))

    def test_secret_passwords(self):
        self.assertEqual(data(worker.Worker("w", util.Secret("s")))["password"], {"$r": "secret", "name": "s"})


if __name__ == "__main__":
    unittest.main()
