"""Reporters."""

import unittest

from tests.support import ConfigTestCase

HEAD = "from buildbot.plugins import reporters\n"


class Mail(ConfigTestCase):
    def test_a_mail_notifier_for_missing_workers(self):
        snapshot = self.load(
            HEAD + "c['services'] = [reporters.MailNotifier('ci@example.org', relayhost='mail', smtpPort=2525, "
            "generators=[reporters.WorkerMissingGenerator(workers=['w2', 'w1'])])]\n"
        )
        (reporter,) = snapshot["reporters"]
        self.assertEqual(reporter["name"], "MailNotifier")
        self.assertEqual(reporter["generators"], [{"kind": "worker_missing", "workers": ["w1", "w2"]}])
        kind = reporter["kind"]
        self.assertEqual((kind["kind"], kind["relay_host"], kind["smtp_port"]), ("mail", "mail", 2525))

    def test_what_is_not_supported_is_refused(self):
        notifier = "c['services'] = [reporters.MailNotifier(fromaddr='a@b', {})]\n"
        cases = [
            (notifier.format(""), "reports about builds are not supported"),
            (notifier.format("generators=[3]"), "3 is not supported"),
            (notifier.format("generators=[reporters.BuildStatusGenerator()]"), "BuildStatusGenerator is not supported"),
            (notifier.format("generators=[reporters.WorkerMissingGenerator('w')]"), "list of worker names"),
            (notifier.format("generators=[], smtpPort='25'"), "smtpPort must be a port"),
            ("c['services'] = [object()]\n", "is not supported by Muster yet"),
        ]
        for text, problem in cases:
            with self.subTest(text):
                self.assertIn(problem, "\n".join(self.errors(HEAD + text)))


if __name__ == "__main__":
    unittest.main()
