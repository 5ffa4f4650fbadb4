"""Who may log in, and how."""

import base64
import functools
import hashlib
import re

from buildbot.config.errors import error
from muster_host.not_yet import is_stand_in
from muster_host.www_auth import refuse_subclass

#: Rounds of PBKDF2 for passwords of the configuration: some milliseconds for each log-in.
_ITERATIONS = 20_000


def _kept(username, password):
    """What the snapshot keeps of a password. The salt follows from the name, so that equal files are equal snapshots."""
    password = password.encode("utf-8") if isinstance(password, str) else bytes(password)
    salt = hashlib.sha256(b"muster" + username.encode("utf-8")).digest()[:16]
    key = hashlib.pbkdf2_hmac("sha256", password, salt, _ITERATIONS)
    shown = [base64.b64encode(part).decode("ascii") for part in (salt, key)]
    return f"pbkdf2-sha256${_ITERATIONS}${shown[0]}${shown[1]}"


def _text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else value


class UserInfoProviderBase:
    """Knows only that the mail address is the user name."""

    name = "noinfo"


class AuthBase:
    """What every way to log in has."""

    def __init__(self, userInfoProvider=None):
        self.userInfoProvider = userInfoProvider

    def getConfigDict(self):
        return {"name": type(self).__name__}

    def _method(self, encode):
        return {"kind": "nobody"}

    def as_data(self, encode):
        return {
            "name": self.getConfigDict()["name"],
            "method": self._method(encode),
            "email_is_username": type(self.userInfoProvider) is UserInfoProviderBase,
        }


class NoAuth(AuthBase):
    """Nobody logs in."""


class _PasswordAuth(AuthBase):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if self.userInfoProvider is None:
            self.userInfoProvider = UserInfoProviderBase()


class UserPasswordAuth(_PasswordAuth):
    """Passwords of the configuration."""

    def __init__(self, users, **kwargs):
        super().__init__(**kwargs)
        if isinstance(users, dict):
            pairs = list(users.items())
        elif isinstance(users, (list, tuple)):
            pairs = list(users)
        else:
            pairs = None
        if pairs is None or any(
            not isinstance(pair, (list, tuple)) or len(pair) != 2 or any(not isinstance(part, (str, bytes)) for part in pair)
            for pair in pairs
        ):
            error("UserPasswordAuth: users must be a dictionary of names and passwords, or a list of such pairs")
            pairs = []
        self.users = [(_text(name), password) for name, password in pairs]

    def _method(self, encode):
        return {"kind": "passwords", "users": {name: _kept(name, password) for name, password in self.users}}


class HTPasswdAuth(_PasswordAuth):
    """Passwords of a file, hashed as `htpasswd` does, or plain."""

    def __init__(self, passwdFile, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(passwdFile, str):
            error(f"HTPasswdAuth: passwdFile must be the path of a file, not {passwdFile!r}")
            passwdFile = ""
        self.passwdFile = passwdFile

    def _method(self, encode):
        return {"kind": "htpasswd", "file": self.passwdFile}


class CustomAuth(_PasswordAuth):
    """A subclass says who may come in; it is asked at each log-in."""

    def check_credentials(self, username, password):
        return False

    def _method(self, encode):
        check = type(self).check_credentials
        if check is CustomAuth.check_credentials:
            error("CustomAuth: a subclass must define check_credentials(self, username, password)")

        @functools.wraps(check)
        def asked(username, password):
            # Bytes, as Buildbot hands them over; they come in base64.
            return self.check_credentials(base64.b64decode(username), base64.b64decode(password))

        return {"kind": "function", "check": encode.at("auth").callable(asked)}


class RemoteUserAuth(AuthBase):
    """A proxy in front says who somebody is, in a header."""

    header = "REMOTE_USER"
    headerRegex = re.compile(r"(?P<username>[^ @]+)@(?P<realm>[^ @]+)")
    #: Addresses and networks of proxies that are believed, besides those on this machine. Muster's own: in a file that Buildbot
    #: reads, too, it is set on the object.
    trusted_proxies = ()

    def __init__(self, header=None, headerRegex=None, trusted_proxies=None, **kwargs):
        super().__init__(**kwargs)
        if self.userInfoProvider is None:
            self.userInfoProvider = UserInfoProviderBase()
        if header is not None:
            self.header = _text(header)
        if headerRegex is not None:
            self.headerRegex = re.compile(_text(headerRegex)) if isinstance(headerRegex, (str, bytes)) else headerRegex
        if trusted_proxies is not None:
            self.trusted_proxies = trusted_proxies

    def _method(self, encode):
        pattern = self.headerRegex
        text = _text(pattern.pattern)
        if pattern.flags & re.IGNORECASE:
            text = f"(?i:{text})"
        if "username" not in pattern.groupindex:
            error("RemoteUserAuth: headerRegex must have a group named 'username'")
        proxies = self.trusted_proxies
        if not isinstance(proxies, (list, tuple)) or any(not isinstance(proxy, str) for proxy in proxies):
            error("RemoteUserAuth: trusted_proxies must be a list of addresses and networks, such as '10.0.0.0/8'")
            proxies = []
        return {
            "kind": "remote_user",
            "header": _text(self.header),
            "pattern": text,
            "trusted_proxies": list(proxies),
        }


_STOCK = {
    cls: ()
    for cls in (NoAuth, UserPasswordAuth, HTPasswdAuth, RemoteUserAuth)
} | {CustomAuth: ("check_credentials",)}


def check(auth):
    """Refuses what can't be served: own subclasses, and their providers of information."""
    refuse_subclass(auth, _STOCK, "c['www']['auth']")
    provider = auth.userInfoProvider
    if provider is not None and type(provider) is not UserInfoProviderBase and not is_stand_in(provider):
        error(f"userInfoProvider: {type(provider).__name__} is not supported by Muster yet")
