"""Log-in and rules: `c['www']['auth']`, `authz`."""

import base64
import hashlib

from tests.support import ConfigTestCase

HEAD = "from buildbot.plugins import util\n"


def www(text):
    return f"c['www'] = {{'port': 8010, {text}}}\n"


class TestPeople(ConfigTestCase):
    def _www(self, text, more=""):
        return self.load(more + www(text))["www"]

    def test_without_any(self):
        read = self._www("")
        self.assertEqual([read[key] for key in ("auth", "authz", "avatar_methods", "cookie_expiration_time")], [None] * 4)

    def test_passwords_are_not_kept(self):
        for users in ("{'ann': 'sesame', 'bob': b'open'}", "[('ann', 'sesame'), ('bob', 'open')]"):
            auth = self._www(f"'auth': util.UserPasswordAuth({users})")["auth"]
            self.assertEqual((auth["name"], auth["email_is_username"]), ("UserPasswordAuth", True))
            kept = auth["method"]["users"]["ann"].split("$")
            self.assertNotIn("sesame", str(auth))
            key = hashlib.pbkdf2_hmac("sha256", b"sesame", base64.b64decode(kept[2]), int(kept[1]))
            self.assertEqual(base64.b64decode(kept[3]), key)
            self.assertEqual(list(auth["method"]["users"]), ["ann", "bob"])

    def test_custom_auth_is_asked(self):
        more = """
class Mine(util.CustomAuth):
    def _lookup(self, name):
        return name == b'ann'
    def check_credentials(self, username, password):
        return self._lookup(username) and password == b'x'
"""
        auth = self._www("'auth': Mine()", more)["auth"]
        handle = auth["method"]["check"]["handle"]
        function = self.functions.get(handle)[0]
        word = lambda text: base64.b64encode(text).decode()  # noqa: E731
        self.assertTrue(function(word(b"ann"), word(b"x")))
        self.assertFalse(function(word(b"bob"), word(b"x")))

    def test_providers(self):
        auth = self._www("'auth': util.GitHubAuth('id', util.Secret('s'), apiVersion=4, getTeamsMembership=True)")["auth"]
        method = auth["method"]
        self.assertEqual(method["resource"], "https://api.github.com/graphql")
        self.assertEqual((method["api_version"], method["teams"], method["client_secret"]["name"]), (4, True, "s"))
        method = self._www("'auth': util.GitLabAuth('https://git.example/', 'i', 's')")["auth"]["method"]
        self.assertEqual(method["token_uri"], "https://git.example/oauth/token")
        self.assertEqual(self._www("'auth': util.RemoteUserAuth(header='X-User')")["auth"]["method"]["header"], "X-User")
        self.assertEqual(self._www("'auth': util.HTPasswdAuth('users')")["auth"]["method"]["file"], "users")

    def test_rules(self):
        authz = self._www(
            """'authz': util.Authz(
                allowRules=[util.StopBuildEndpointMatcher(role='owner', builder='a*', defaultDeny=False),
                            util.AnyControlEndpointMatcher(role='admins')],
                roleMatchers=[util.RolesFromEmails(admins=['a@b.c']), util.RolesFromDomain(staff=['b.c']),
                              util.RolesFromUsername(roles=['admins'], usernames=['ann']), util.RolesFromOwner(role='owner'),
                              util.RolesFromGroups(groupPrefix='g/')],
                stringsMatcher=util.reStrMatcher)"""
        )["authz"]
        self.assertEqual(
            authz["rules"][0], {"endpoints": "stop_build", "builder": "a*", "role": "owner", "default_deny": False}
        )
        self.assertEqual([source["from"] for source in authz["roles"]], ["emails", "domains", "usernames", "owner", "groups"])
        self.assertEqual((authz["roles"][0]["roles"], authz["strings"]), ({"a@b.c": ["admins"]}, "regex"))

    def test_what_cannot_be_served_is_refused(self):
        own = """
from buildbot.www.auth import AuthBase
from buildbot.www.authz.endpointmatchers import EndpointMatcherBase
class Login(AuthBase):
    pass
class Auto(util.UserPasswordAuth):
    def maybeAutoLogin(self, request):
        pass
class Hub(util.GitHubAuth):
    def getUserInfoFromOAuthClient(self, c):
        return {}
class Rule(EndpointMatcherBase):
    def match_BuildEndpoint(self, *args):
        return None
class Roles(util.RolesFromGroups):
    def getRolesFromUser(self, details):
        return ['x']
class Fine(util.RolesFromGroups):
    pass
"""
        for text, wanted in (
            ("'auth': Login()", "Login is not supported"),
            ("'auth': Auto({})", "Auto overrides maybeAutoLogin"),
            ("'auth': Hub('i', 's')", "Hub overrides getUserInfoFromOAuthClient"),
            ("'auth': util.CustomAuth()", "must define check_credentials"),
            ("'auth': util.GoogleAuth('i', 's', ssl_verify=False)", "SSL_CERT_FILE"),
            ("'auth': 7", "must be a way to log in"),
            ("'authz': util.Authz(allowRules=[Rule(role='x')])", "Rule overrides match_BuildEndpoint"),
            ("'authz': util.Authz(roleMatchers=[Roles()])", "Roles overrides getRolesFromUser"),
            ("'authz': util.Authz(roleMatchers=[7])", "none of Buildbot's"),
            ("'authz': util.Authz(stringsMatcher=lambda a, b: True)", "stringsMatcher must be"),
            ("'auth': util.RemoteUserAuth(headerRegex='(.*)')", "'username'"),
        ):
            with self.subTest(text):
                errors = self.errors(own + www(text))
                self.assertTrue(any(wanted in error for error in errors), errors)
        self._www("'authz': util.Authz(roleMatchers=[Fine()])", own)
