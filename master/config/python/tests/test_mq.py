"""The message bus."""

from tests.support import ConfigTestCase


class MessageBus(ConfigTestCase):
    def mq(self, text):
        return self.load(f"c['mq'] = {text}")["mq"]

    def refused(self, text, words):
        (error,) = self.errors(f"c['mq'] = {text}")
        self.assertIn(words, str(error))

    def test_without_a_word_it_is_inside_the_process(self):
        self.assertEqual(self.load()["mq"], {"type": "simple"})
        self.assertEqual(self.mq("{'type': 'simple', 'debug': True}"), {"type": "simple"})

    def test_wamp_has_the_defaults_of_buildbot(self):
        mq = self.mq("{'type': 'wamp', 'wamp_debug_level': 'warn'}")
        self.assertEqual((mq["router_url"], mq["realm"]), ("ws://localhost:8080/ws", "buildbot"))
        self.assertEqual((mq["auth_method"], mq["embedded"]), ("anonymous", None))
        self.assertEqual((mq["debug_level"], self.mq("{'type': 'wamp'}")["debug_level"]), ("warn", "error"))

    def test_credentials_tls_and_the_embedded_router(self):
        mq = self.mq(
            "{'type': 'wamp', 'router_url': 'wss://r/ws', 'auth_method': 'wampcra', 'authid': 'm1',"
            " 'secret_file': 's', 'tls_ca': 'ca.pem', 'tls_certificate': 'c.pem', 'tls_key': 'k.pem',"
            " 'embedded': 'router.json'}"
        )
        self.assertEqual((mq["authid"], mq["secret"], mq["secret_file"]), ("m1", None, "s"))
        self.assertEqual((mq["tls_ca"], mq["embedded"]), ("ca.pem", {"file": "router.json"}))
        self.assertEqual(self.mq("{'type': 'wamp', 'embedded': True}")["embedded"], {"file": None})

    def test_what_can_not_work_is_refused(self):
        for text, words in (
            ("3", "must be a dictionary"),
            ("{'type': 'amqp'}", "'amqp' is not known"),
            ("{'type': 'wamp', 'user': 'x'}", "unrecognized keys in c['mq']: user"),
            ("{'type': 'wamp', 'router_url': 'http://r'}", "must begin with ws://"),
            ("{'type': 'wamp', 'realm': 3}", "c['mq']['realm'] must be a string"),
            ("{'type': 'wamp', 'wamp_debug_level': 'loud'}", "must be one of critical"),
            ("{'type': 'wamp', 'auth_method': 'kerberos'}", "must be one of anonymous"),
            ("{'type': 'wamp', 'secret': 's'}", "without an auth_method"),
            ("{'type': 'wamp', 'auth_method': 'ticket', 'secret': 's'}", "needs an 'authid'"),
            ("{'type': 'wamp', 'auth_method': 'ticket', 'authid': 'm'}", "either 'secret' or 'secret_file'"),
            ("{'type': 'wamp', 'tls_ca': 'ca.pem'}", "used with wss:// only"),
            ("{'type': 'wamp', 'router_url': 'wss://r', 'tls_key': 'k'}", "needed together"),
            ("{'type': 'wamp', 'router_url': 'wss://r', 'embedded': True}", "needs its certificate"),
            ("{'type': 'wamp', 'embedded': 3}", "must be True, False, or the name of a file"),
        ):
            with self.subTest(text):
                self.refused(text, words)
