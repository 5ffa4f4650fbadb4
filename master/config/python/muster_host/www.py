"""The web server: `c['www']`."""

import datetime
import re

from buildbot.config.errors import error, warn
from buildbot.www.auth import AuthBase
from buildbot.www.auth import check as check_auth
from buildbot.www.authz import Authz
from buildbot.www.avatar import AvatarGravatar
from buildbot.www.oauth2 import OAuth2Auth
from buildbot.www.oauth2 import check as check_oauth2
from muster_host.encode import NotEncodable
from muster_host.not_yet import is_stand_in
from muster_host.settings import port_text

#: What each key that Buildbot 4.3 knows does here.
KEYS = {
    "allowed_origins": "used",
    "auth": "used: the classes of `buildbot.www.auth` and `buildbot.www.oauth2`; own subclasses only of `CustomAuth`",
    "authz": "used: `Authz` with all matchers of Buildbot; own subclasses are refused",
    "avatar_methods": "used: `AvatarGravatar`; others are refused",
    "change_hook_auth": "not yet: refused when it is set",
    "change_hook_dialects": "used: `base`; others, and options, are refused",
    "cookie_expiration_time": "used",
    "custom_templates_dir": "not yet: refused when it is set",
    "debug": "used: errors of the REST interface are logged",
    "default_page": "used: the page that `/` leads to; `/?home` is home",
    "graphql": "without effect, with a warning, as in Buildbot 4.3",
    "json_cache_seconds": "used",
    "jsonp": "without effect, with a warning, as in Buildbot 4.3",
    "logfileName": "used: the access log, `http.log` by default; `None` writes none",
    "logRotateLength": "used",
    "maxRotatedFiles": "used",
    "plugins": "without effect, with a warning: the pages are Muster's own",
    "port": "used",
    "project_widgets": "without effect, with a warning: the pages are Muster's own",
    "rest_minimum_version": "used",
    "theme": "used: colours",
    "ui_default_config": "only told at `/config`, with a warning: the pages have no settings",
    "versions": "used: shown at `/about`",
    "ws_ping_interval": "used",
}
_NOT_YET = ("change_hook_auth", "custom_templates_dir")

#: Keys with which nothing can be done, and why.
_WITHOUT_EFFECT = {
    "graphql": "it has none in Buildbot 4.3 either",
    "jsonp": "it has none in Buildbot 4.3 either",
    "project_widgets": "Muster's pages are its own",
    "ui_default_config": "Muster's pages have no settings; /config tells it to others",
}

#: Pages of Buildbot that `default_page` may name, for which there is one here.
_PAGES = """
    builders pendingbuildrequests pending buildrequests workers changes console projects waterfall grid about masters home
""".split()

#: Buildbot's names of colours.
_COLOURS = frozenset(
    "bb-sidebar-" + name
    for name in """
        background-color header-background-color header-text-color title-text-color footer-background-color
        button-text-color button-hover-background-color button-hover-text-color button-current-background-color
        button-current-text-color stripe-hover-color stripe-current-color
    """.split()
)
#: A colour as CSS writes it: nothing that could end the declaration.
_COLOUR = re.compile(r"[#A-Za-z0-9(),.%/ +-]{1,200}")
_LOADS = re.compile(r"(url|image|image-set)\(", re.IGNORECASE)


def read_www(values):
    """The web server's settings."""
    www = values.get("www") or {}
    if not isinstance(www, dict):
        error("c['www'] must be a dictionary")
        return {}
    unknown = [str(name) for name in www if name not in KEYS]
    if unknown:
        error(f"unknown www configuration parameter(s) {', '.join(unknown)}")
    versions = www.get("versions", [])
    if not isinstance(versions, list) or any(not isinstance(v, tuple) or len(v) < 2 for v in versions):
        error("Invalid www configuration value of versions")
    if not isinstance(www.get("cookie_expiration_time", datetime.timedelta()), datetime.timedelta):
        error('Invalid www["cookie_expiration_time"] configuration should be a datetime.timedelta')
    _read_people(www)
    for name, why in _WITHOUT_EFFECT.items():
        if www.get(name):
            warn(f"c['www']['{name}'] has no effect: {why}")
    _read_numbers(www)
    _read_origins(www.get("allowed_origins"))
    _read_log(www)
    _read_page(www.get("default_page"))
    _read_theme(www.get("theme") or {})
    _read_plugins(www.get("plugins") or {})
    _read_change_hooks(www.get("change_hook_dialects") or {})
    return www


def _read_people(www):
    auth, authz = www.get("auth"), www.get("authz")
    if isinstance(auth, OAuth2Auth):
        check_oauth2(auth)
    elif isinstance(auth, AuthBase):
        check_auth(auth)
    elif auth is not None and not is_stand_in(auth):
        error(f"c['www']['auth'] must be a way to log in, such as util.UserPasswordAuth, not {auth!r}")
    if isinstance(authz, Authz):
        authz.check()
    elif authz is not None and not is_stand_in(authz):
        error(f"c['www']['authz'] must be util.Authz, not {authz!r}")
    for method in _avatar_methods(www):
        if type(method) is not AvatarGravatar and not is_stand_in(method):
            error(f"c['www']['avatar_methods']: {type(method).__name__} is not supported by Muster yet")
    for name in _NOT_YET:
        if www.get(name):
            error(f"c['www']['{name}'] is not supported by Muster yet")


def _avatar_methods(www):
    methods = www.get("avatar_methods")
    return methods if isinstance(methods, (list, tuple)) else [] if methods is None else [methods]


def _people_data(www, encode):
    auth, authz = www.get("auth"), www.get("authz")
    return {
        "auth": auth.as_data(encode) if isinstance(auth, AuthBase) else None,
        "authz": authz.as_data() if isinstance(authz, Authz) else None,
        "avatar_methods": ["gravatar" for _ in _avatar_methods(www)] if "avatar_methods" in www else None,
    }


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read_numbers(www):
    for name in ("json_cache_seconds", "rest_minimum_version", "ws_ping_interval"):
        value = www.get(name)
        if value is not None and not (_is_number(value) and 0 <= value < 2**31):
            error(f"c['www']['{name}'] must be a number that is not negative, not {value!r}")
    for name in ("logRotateLength", "maxRotatedFiles"):
        value = www.get(name)
        if value is not None and not (type(value) is int and value >= 0):
            error(f"c['www']['{name}'] must be a whole number that is not negative, not {value!r}")
    minimum = www.get("rest_minimum_version")
    if _is_number(minimum) and minimum > 2:
        warn(
            f"c['www']['rest_minimum_version'] is {minimum}: the REST interface is version 2, so it is off, and with it the "
            "pages' links to raw logs"
        )


def _read_origins(origins):
    if origins is None:
        return
    if not isinstance(origins, (list, tuple)) or any(not isinstance(origin, str) for origin in origins):
        error("c['www']['allowed_origins'] must be a list of strings such as 'https://*.example.org'")


def _read_log(www):
    name = www.get("logfileName")
    if name is not None and not isinstance(name, str):
        error(f"c['www']['logfileName'] must be a string, or None for no access log, not {name!r}")


def _read_page(page):
    if page is None:
        return
    if not isinstance(page, str) or page.strip("#/") not in (*_PAGES, ""):
        error(f"c['www']['default_page'] {page!r} is no page of Muster's; there are {', '.join(_PAGES)}")


def _read_theme(theme):
    if not isinstance(theme, dict):
        error("c['www']['theme'] must be a dictionary")
        return
    for name, colour in theme.items():
        if name not in _COLOURS:
            warn(f"c['www']['theme']['{name}'] has no effect: no colour of the pages has this name")
        elif not isinstance(colour, str) or not _COLOUR.fullmatch(colour) or _LOADS.search(colour):
            error(f"c['www']['theme']['{name}'] must be a colour as CSS writes it, not {colour!r}")


def _read_change_hooks(dialects):
    if not isinstance(dialects, dict):
        error("c['www']['change_hook_dialects'] must be a dictionary")
        return
    for name, options in dialects.items():
        if name != "base":
            error(f"c['www']['change_hook_dialects']['{name}'] is not supported by Muster yet; only 'base' is")
        elif isinstance(options, dict) and options:
            error(
                f"c['www']['change_hook_dialects']['base']: the option(s) {', '.join(map(str, options))} are not supported "
                "by Muster yet; write True"
            )
        elif options is not True and options != {}:
            # In Buildbot the name alone switches it on, whatever stands behind it.
            error(f"c['www']['change_hook_dialects']['base'] must be True, or be left out, not {options!r}")


def _read_plugins(plugins):
    if not isinstance(plugins, dict):
        error("c['www']['plugins'] must be a dictionary")
        return
    if plugins.get("wsgi_dashboards"):
        error("c['www']['plugins']['wsgi_dashboards'] is not supported by Muster yet")
    for name in plugins:
        warn(f"c['www']['plugins']['{name}'] has no effect: Muster's pages are its own")


def www_data(www, encode):
    """The web server for the snapshot."""
    own = ("port", "auth", "authz", "avatar_methods", "allowed_origins", "cookie_expiration_time")
    raw = {}
    for name, value in www.items():
        if name in own or name in _NOT_YET:
            continue
        try:
            raw[name] = encode.at(name)(value)
        except NotEncodable as refused:
            error(str(refused))
    origins = www.get("allowed_origins")
    expiration = www.get("cookie_expiration_time")
    return {
        **_people_data(www, encode),
        "cookie_expiration_time": expiration.total_seconds() if isinstance(expiration, datetime.timedelta) else None,
        "port": port_text(www.get("port"), "c['www']['port']"),
        "allowed_origins": list(origins) if isinstance(origins, (list, tuple)) else None,
        "raw": raw,
    }
