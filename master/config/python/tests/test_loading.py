"""Whole configurations: what is read, what is refused, in which order and where."""

import os
import sys
import unittest

from buildbot.config.errors import ConfigErrors
from muster_host import evaluate
from muster_host.encode import Functions
from tests.support import ConfigTestCase


class Good(ConfigTestCase):
    def test_what_has_no_effect_is_said(self):
        given = "c['caches'] = {'Builds': 3}; c['logCompressionLimit'] = False; c['logMaxSize'] = 9; c['mq'] = {'debug': True}"
        warnings = "\n".join(self.load(given)["warnings"])
        for name in ("c['caches']", "c['logCompressionLimit']", "c['logMaxSize']", "c['mq']['debug']"):
            self.assertIn(f"{name} has no effect", warnings)
        self.assertIn("c['changeHorizon'] must not be negative", self.errors("c['changeHorizon'] = -1"))

    def test_encodings_are_known_or_refused_and_not_in_force_in_silence(self):
        self.assertEqual(self.load("c['logEncoding'] = 'UTF8'")["log_encoding"], {"name": "utf-8"})
        self.assertEqual(self.load("c['logEncoding'] = 'latin-1'")["log_encoding"], {"name": "iso8859-1"})
        step = self.load("factory.addStep(steps.ShellCommand(command='x', logEncoding='SJIS'))")["builders"][0]
        self.assertEqual(step["factory"]["steps"][-1]["log_encoding"], "shift_jis")
        self.assertIn("'cp037' is not supported", "\n".join(self.errors("c['logEncoding'] = 'cp037'")))
        for given in ("c['logEncoding'] = 'nosuch'", "factory.addStep(steps.ShellCommand(command='x', logEncoding='nosuch'))"):
            self.assertIn("there is no encoding 'nosuch'", "\n".join(self.errors(given)))
        self.assertIn("a function is not supported", "\n".join(self.errors("c['logEncoding'] = lambda text: ''")))

    def test_integers_of_any_size_are_values_and_no_limits(self):
        loaded = self.load("c['properties'] = {'n': 2**70, 'm': [-(2**200)]}\nc['workers'][0].properties.setProperty('k', 2**65, 'w')\n")
        self.assertEqual(loaded["properties"], {"n": 2**70, "m": [-(2**200)]})
        for given, place in (
            ("c['workers'].append(worker.Worker('q', 'p', max_builds=2**70))", "c['workers']['q']['max_builds']"),
            (
                "c['schedulers'].append(schedulers.Triggerable(name='t', builderNames=[], priority=-(2**64)))",
                "c['schedulers']['t']",
            ),
        ):
            errors = "\n".join(self.errors(given))
            self.assertIn(place, errors)
            self.assertIn("out of range", errors)
        self.assertIn("more than 4300 digits", "\n".join(self.errors("c['properties'] = {'n': 10**4301}")))

    def test_validation_says_what_people_may_enter(self):
        self.assertEqual(set(self.load()["validation"].values()), {None})
        given = "{'branch': re.compile('^x$', re.I | re.S), 'property_name': re.compile('a', re.A)}"
        read = self.load(f"import re\nc['validation'] = {given}")["validation"]
        self.assertEqual(read["branch"], "(?is:^x$)")
        self.assertEqual(read["property_name"], "(?a:a)")
        errors = self.errors("c['validation'] = {'branch': 'x', 'nonsense': 1}")
        self.assertIn("unrecognized validation key(s): nonsense", errors)
        self.assertIn("c['validation']['branch'] must be a compiled pattern of text, re.compile(r'...')", errors)

    def test_defaults(self):
        snapshot = self.load()
        self.assertEqual(snapshot["title"], "Buildbot")
        self.assertEqual(snapshot["buildbot_url"], "http://localhost:8080/")
        self.assertEqual(snapshot["db"], {"db_url": "sqlite:///state.sqlite"})
        self.assertEqual(snapshot["collapse_requests"], "default")
        self.assertIsNone(snapshot["www"]["port"])
        self.assertFalse(snapshot["has_callables"])

    def test_addresses_end_with_a_slash(self):
        self.assertEqual(self.load("c['buildbotURL'] = 'http://ci'")["buildbot_url"], "http://ci/")

    def test_session_port(self):
        self.assertEqual(self.load()["protocols"], {"session": {"port": "9990", "more_ports": []}})
        self.assertEqual(self.load("c['protocols'] = {'session': {}}")["protocols"]["session"]["port"], "9990")
        strports = "tcp:9991:interface=127.0.0.1"
        snapshot = self.load(f"c['protocols'] = {{'session': {{'port': '{strports}'}}}}")
        self.assertEqual(snapshot["protocols"]["session"]["port"], strports)

    def test_a_protocol_may_have_several_ports(self):
        snapshot = self.load("c['protocols']['pb'] = {'port': [9989, 'unix:pb.sock']}")
        self.assertEqual(snapshot["protocols"]["pb"], {"port": "9989", "more_ports": ["unix:pb.sock"]})
        errors = self.errors("c['protocols']['pb'] = {'port': [9989, '9990']}")
        self.assertIn("Some of ports in c['protocols'] duplicated", "\n".join(errors))
        self.assertIn("must be a port, or a list of ports", "\n".join(self.errors("c['protocols']['pb'] = {'port': []}")))

    def test_basedir_and_file_are_known_and_are_the_working_directory(self):
        self.load(
            """
            import os
            assert os.path.samefile(basedir, os.getcwd())
            assert os.path.samefile(__file__, 'master.cfg')
            assert __builtins__
            """
        )

    def test_modules_beside_the_file_can_be_imported_and_the_path_is_restored(self):
        self.write("VALUE = 'from beside'", "beside_master_cfg.py")
        self.addCleanup(sys.modules.pop, "beside_master_cfg", None)
        before = sys.path[:]
        snapshot = self.load("import beside_master_cfg; c['title'] = beside_master_cfg.VALUE")
        self.assertEqual(snapshot["title"], "from beside")
        self.assertEqual(sys.path, before)

    def test_builders_may_be_dictionaries(self):
        snapshot = self.load("c['builders'] = [dict(name='b', workername='w1', factory=factory)]")
        self.assertEqual(snapshot["builders"][0]["worker_names"], ["w1"])

    def test_configurators_may_add(self):
        snapshot = self.load(
            """
            class More:
                def configure(self, config_dict):
                    config_dict['title'] = 'configured'
            c['configurators'] = [More()]
            """
        )
        self.assertEqual(snapshot["title"], "configured")

    def test_all_locks_are_listed_once(self):
        snapshot = self.load(
            """
            lock = util.WorkerLock('one', maxCount=2, maxCountForWorker={'w1': 3})
            c['builders'][0].locks = [lock.access('counting')]
            factory.addStep(steps.ShellCommand(command='x', locks=[lock.access('exclusive')]))
            """
        )
        self.assertEqual(
            snapshot["locks"],
            [{"name": "one", "kind": "worker", "max_count": 2, "max_count_for_worker": {"w1": 3}}],
        )
        step = snapshot["builders"][0]["factory"]["steps"][1]
        self.assertEqual(step["locks"], {"accesses": [{"lock": "one", "mode": "exclusive", "count": 1}]})

    def test_functions_make_the_host_stay(self):
        snapshot = self.load("c['prioritizeBuilders'] = lambda master, builders: builders")
        self.assertTrue(snapshot["has_callables"])
        self.assertEqual(snapshot["prioritize_builders"]["handle"], "prioritizeBuilders")

    def test_values_without_effect_are_warned_about(self):
        snapshot = self.load("c['logMaxSize'] = 1000")
        self.assertEqual(len(snapshot["warnings"]), 1)


class Bad(ConfigTestCase):
    def test_no_directory(self):
        with self.assertRaises(ConfigErrors) as raised:
            evaluate.load("/nowhere/at/all", "master.cfg", Functions())
        self.assertEqual(raised.exception.errors, ["basedir '/nowhere/at/all' does not exist"])

    def test_no_file(self):
        with self.assertRaises(ConfigErrors) as raised:
            evaluate.load(self.basedir, "master.cfg", Functions())
        path = os.path.join(self.basedir, "master.cfg")
        self.assertEqual(raised.exception.errors, [f"configuration file '{path}' does not exist"])

    def test_no_dictionary(self):
        with self.assertRaises(ConfigErrors) as raised:
            self.load_text("pass")
        expected = "Configuration file 'master.cfg' does not define 'BuildmasterConfig'"
        self.assertEqual(raised.exception.errors, [expected])

    def test_syntax_error(self):
        ((text, line),) = self.located_errors("if:\n")
        self.assertTrue(text.startswith("encountered a SyntaxError while parsing config file:"))
        self.assertEqual(line, 1)

    def test_exception(self):
        errors = self.located_errors("x = 1\n1 / 0")
        self.assertEqual(errors, [("error while parsing config file: division by zero (traceback in logfile)", 2)])

    def test_exit_is_an_error_too(self):
        self.assertEqual(self.errors("exit(3)"), ["error while parsing config file: 3 (traceback in logfile)"])

    def test_unknown_keys_are_sorted(self):
        self.assertEqual(self.errors("c['foo'] = 1"), ["Unknown BuildmasterConfig key foo"])
        self.assertEqual(self.errors("c['foo'] = c['bar'] = 1"), ["Unknown BuildmasterConfig keys bar, foo"])

    def test_constructor_errors_come_first_with_their_lines(self):
        errors = self.located_errors(
            """
            c['title'] = 3
            steps.Git()
            steps.SetPropertyFromCommand(
                command='x')
            """
        )
        self.assertEqual(
            errors[:2], [("Git: must provide repourl.", 3), ("Exactly one of property and extract_fn must be set", 4)]
        )
        self.assertEqual(errors[2][0], "c['title'] must be a string")

    def test_cross_checks(self):
        self.assertEqual(
            self.errors("c['builders'][0].workernames = ['w2', 'w3']"), ["builder 'b' uses unknown workers 'w2', 'w3'"]
        )
        self.assertEqual(self.errors("c['schedulers'] = []"), ["builder(s) b have no schedulers to drive them"])
        self.assertEqual(
            self.errors("c['schedulers'].append(schedulers.Triggerable(name='t', builderNames=['q']))"),
            ["Unknown builder 'q' in scheduler 't'"],
        )
        self.assertEqual(self.errors("del c['protocols']"), ["workers are configured, but c['protocols'] not"])

    def test_one_bad_worker_drops_all(self):
        self.assertEqual(
            self.errors("c['workers'].append(worker.Worker('a b', 'x'))"),
            [
                "worker name 'a b' is not an identifier",
                "no workers are configured",
                "builder 'b' uses unknown workers 'w1'",
            ],
        )

    def test_names_of_workers_are_those_of_buildbot(self):
        for name in ("w.1", "1w", "a/b", ""):
            self.assertIn(
                f"worker name '{name}' is not an identifier",
                self.errors(f"c['workers'].append(worker.Worker({name!r}, 'x'))"),
            )
        for name in ("w-1", "_w", "-w", "bäume", "日本", "a" * 50):
            self.load(f"c['workers'].append(worker.Worker({name!r}, 'x'))")

    def test_duplicates(self):
        self.assertEqual(
            self.errors("c['builders'].append(c['builders'][0])"),
            ["duplicate builder name 'b'", "duplicate builder builddir 'b'"],
        )
        self.assertEqual(
            self.errors("c['schedulers'].append(c['schedulers'][0])"), ["scheduler name 's' used multiple times"]
        )
        two = "c['builders'][0].locks = [util.MasterLock('l').access('counting') for _ in range(2)]"
        self.assertEqual(self.errors(two), ["Two locks share the same name, 'l'"])

    def test_multi_master_needs_no_workers(self):
        snapshot = self.load("c['multiMaster'] = True; c['workers'] = []; c['builders'] = []; c['schedulers'] = []")
        self.assertTrue(snapshot["multi_master"])

    def test_www(self):
        self.assertEqual(self.errors("c['www'] = {'foo': 1}"), ["unknown www configuration parameter(s) foo"])

    def test_settings_of_the_web_server_that_make_no_sense(self):
        for text, word in [
            ("'json_cache_seconds': '15'", "json_cache_seconds"),
            ("'json_cache_seconds': -1", "json_cache_seconds"),
            ("'rest_minimum_version': True", "rest_minimum_version"),
            ("'ws_ping_interval': None or 'x'", "ws_ping_interval"),
            ("'logRotateLength': 1.5", "logRotateLength"),
            ("'maxRotatedFiles': '2'", "maxRotatedFiles"),
            ("'logfileName': 7", "logfileName"),
            ("'default_page': 'nosuch'", "default_page"),
            ("'allowed_origins': 'http://a'", "allowed_origins"),
            ("'theme': {'bb-sidebar-background-color': 'red; } body { color: red'}", "bb-sidebar-background-color"),
            ("'theme': {'bb-sidebar-background-color': 'url(//evil)'}", "bb-sidebar-background-color"),
            ("'theme': {'bb-sidebar-background-color': 5}", "bb-sidebar-background-color"),
            ("'theme': 'dark'", "theme"),
        ]:
            errors = self.errors("c['www'] = {%s}" % text)
            self.assertEqual([word in error for error in errors], [True], (text, errors))

    def test_settings_of_the_web_server_without_effect_are_told(self):
        snapshot = self.load(
            """
            import datetime
            c['www'] = {
                'ui_default_config': {'Home.x': 1}, 'jsonp': True,
                'graphql': {'debug': True}, 'project_widgets': [1], 'rest_minimum_version': 3,
                'theme': {'bb-sidebar-background-color': '#123', 'my-color': 'red'},
            }
            """
        )
        for word in [
            "ui_default_config", "jsonp", "graphql", "project_widgets", "rest_minimum_version",
            "my-color",
        ]:
            told = [warning for warning in snapshot["warnings"] if f"'{word}'" in warning]
            self.assertEqual(len(told), 1, (word, snapshot["warnings"]))

    def test_only_the_hook_base_is_there(self):
        for dialects in ["{'github': {}}", "{'github': False}", "{'gitlab': None}", "{'base': True, 'poller': True}"]:
            errors = self.errors("c['www'] = {'change_hook_dialects': %s}" % dialects)
            self.assertEqual(len(errors), 1, (dialects, errors))
            self.assertIn("only 'base' is", errors[0])
        for options in ["{'custom_class': 'x'}", "{'x': None}", "False", "None", "'yes'"]:
            errors = self.errors("c['www'] = {'change_hook_dialects': {'base': %s}}" % options)
            self.assertEqual(len(errors), 1, (options, errors))
        for options in ["True", "{}"]:
            self.load("c['www'] = {'change_hook_dialects': {'base': %s}}" % options)

    def test_values_that_can_not_leave_python(self):
        errors = self.errors("c['properties'] = {'x': object()}")
        self.assertEqual(errors, ["properties/x: object can't be used here"])


class NotYet(ConfigTestCase):
    def test_all_are_named_and_the_load_goes_on(self):
        errors = self.located_errors(
            """
            from buildbot.plugins import reporters
            from buildbot.www.ldapuserinfo import LdapUserInfo
            c['services'] = [reporters.GitHubStatusPush(token='x')]
            c['www'] = {'auth': util.UserPasswordAuth({}, userInfoProvider=LdapUserInfo()), 'avatar_methods': util.AvatarGitHub()}
            c['foo'] = 1
            """
        )
        self.assertEqual(
            errors[:3],
            [
                ("not provided by Muster: reporters.GitHubStatusPush", 4),
                ("not provided by Muster: buildbot.www.ldapuserinfo.LdapUserInfo", 5),
                ("not provided by Muster: util.AvatarGitHub", 5),
            ],
        )
        self.assertEqual(errors[3][0], "Unknown BuildmasterConfig key foo")

    def test_what_stands_in_makes_no_further_errors(self):
        errors = self.located_errors(
            """
            for name in ('w2', 'w3'):
                c['workers'].append(worker.LocalWorker(name))
            factory.addStep(steps.Sphinx(sphinx_builddir='x'))
            c['builders'].append(util.BuilderConfig(name='b2', workernames=['w2'], factory=util.Trial('x')))
            c['schedulers'].append(schedulers.Dependent(name='d', upstream=None, builderNames=['b2']))
            """
        )
        expected = [("worker.LocalWorker (2 times)", 3), ("steps.Sphinx", 4), ("util.Trial", 5), ("schedulers.Dependent", 6)]
        self.assertEqual(errors, [(f"not provided by Muster: {name}", line) for name, line in expected])

    def test_unknown_names_are_attribute_errors(self):
        expected = "error while parsing config file: Unknown component name: Nonsense (traceback in logfile)"
        self.assertEqual(self.errors("util.Nonsense"), [expected])

    def test_old_worker_protocols(self):
        (error,) = self.errors("c['protocols'] = {'msgpack_experimental_v6': {'port': 9989}}")
        self.assertIn("c['protocols']['msgpack_experimental_v6'] is not supported by Muster yet", error)
        stock = self.load("c['protocols'] = {'pb': {'port': 9989}, 'msgpack_experimental_v7': {'port': 9991}}")
        self.assertEqual(
            {name: settings["port"] for name, settings in stock["protocols"].items()},
            {"pb": "9989", "msgpack_experimental_v7": "9991"},
        )

    def test_statistics(self):
        errors = self.located_errors(
            """
            from buildbot.plugins import statistics
            from buildbot.statistics.capture import CaptureData
            c['services'] = [statistics.StatsService(storage_backends=[
                statistics.InfluxStorageService('h', 1, 'u', 'p', 'd', captures=[statistics.CaptureProperty('b', 'p')])])]
            """
        )
        expected = [
            ("buildbot.statistics.capture.CaptureProperty", 5),
            ("buildbot.statistics.storage_backends.influxdb_client.InfluxStorageService", 5),
            ("buildbot.statistics.stats_service.StatsService", 4),
        ]
        self.assertEqual(errors, [(f"not provided by Muster: {name}", line) for name, line in expected])

    def test_a_step_without_code(self):
        errors = self.located_errors(
            """
            class Mine(steps.BuildStep):
                def work(self):
                    return util.SUCCESS
            factory.addStep(Mine())
            """
        )
        self.assertEqual(errors, [("step class Mine: a custom build step must implement run()", 5)])


if __name__ == "__main__":
    unittest.main()
