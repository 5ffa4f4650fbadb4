"""The message bus: `c['mq']`."""

from buildbot.config.errors import error, warn
from buildbot.interfaces import IRenderable

_KEYS = {
    "simple": {"debug"},
    "wamp": {
        # Buildbot's own.
        "router_url",
        "realm",
        "wamp_debug_level",
        # Muster's.
        "embedded",
        "auth_method",
        "authid",
        "secret",
        "secret_file",
        "orders_role",
        "tls_ca",
        "tls_certificate",
        "tls_key",
    },
}
_SCHEMES = ("ws://", "wss://", "ws+unix:")
_DEBUG_LEVELS = ("critical", "error", "warn", "info", "debug", "trace")
_AUTH_METHODS = ("anonymous", "ticket", "wampcra")


def read_mq(values):
    """The message bus."""
    mq = values.get("mq") or {}
    if not isinstance(mq, dict):
        error("c['mq'] must be a dictionary")
        return {"type": "simple"}
    kind = mq.get("type", "simple")
    if kind not in _KEYS:
        error(f"mq type '{kind}' is not known")
        return {"type": "simple"}
    if kind == "simple" and mq.get("debug"):
        warn("c['mq']['debug'] has no effect: events are not written to the log; GET /sse shows them")
    unknown = sorted(str(key) for key in set(mq) - _KEYS[kind] - {"type"})
    if unknown:
        error(f"unrecognized keys in c['mq']: {', '.join(unknown)}")
    return _read_wamp(mq) if kind == "wamp" else {"type": "simple"}


def mq_data(mq, encode):
    """What the snapshot says about it."""
    return {**mq, "router_url": encode(mq["router_url"])} if "router_url" in mq else mq


def _read_wamp(mq):
    texts = ("realm", "authid", "secret", "secret_file", "orders_role", "tls_ca", "tls_certificate", "tls_key")
    for key in texts:
        if mq.get(key) is not None and not isinstance(mq[key], str):
            error(f"c['mq']['{key}'] must be a string")
    if (mq.get("wamp_debug_level") or "error") not in _DEBUG_LEVELS:
        error(f"c['mq']['wamp_debug_level'] must be one of {', '.join(_DEBUG_LEVELS)}")
    url = _read_url(mq)
    _check_authentication(mq)
    _check_tls(mq, url)
    return {
        "type": "wamp",
        "router_url": url,
        "realm": mq.get("realm") or "buildbot",
        "debug_level": mq.get("wamp_debug_level") or "error",
        "auth_method": mq.get("auth_method") or "anonymous",
        **{key: mq.get(key) for key in texts if key != "realm"},
        "embedded": _read_embedded(mq, url),
    }


def _read_url(mq):
    url = mq.get("router_url") or "ws://localhost:8080/ws"
    if IRenderable.providedBy(url):
        return url
    if not isinstance(url, str):
        error("c['mq']['router_url'] must be a string or a renderable")
    elif not url.startswith(_SCHEMES):
        error(f"c['mq']['router_url'] must begin with ws://, wss:// or ws+unix:, not {url!r}")
    else:
        return url
    return "ws://localhost:8080/ws"


def _check_authentication(mq):
    method = mq.get("auth_method") or "anonymous"
    given = [key for key in ("authid", "secret", "secret_file") if mq.get(key) is not None]
    if method not in _AUTH_METHODS:
        error(f"c['mq']['auth_method'] must be one of {', '.join(_AUTH_METHODS)}, not {method!r}")
    elif method == "anonymous":
        if given:
            error(f"c['mq']: {', '.join(given)} without an auth_method; add 'auth_method': 'wampcra' or 'ticket'")
    else:
        if "authid" not in given:
            error(f"c['mq']: auth_method '{method}' needs an 'authid'")
        if ("secret" in given) == ("secret_file" in given):
            error(f"c['mq']: auth_method '{method}' needs either 'secret' or 'secret_file'")


def _check_tls(mq, url):
    given = [key for key in ("tls_ca", "tls_certificate", "tls_key") if mq.get(key) is not None]
    if given and isinstance(url, str) and not url.startswith("wss://"):
        error(f"c['mq']: {', '.join(given)} are used with wss:// only, and router_url is {url}")
    if ("tls_certificate" in given) != ("tls_key" in given):
        error("c['mq']: tls_certificate and tls_key are needed together")


def _read_embedded(mq, url):
    """None, or the file that configures the router inside this master; a file of None is the default configuration."""
    embedded = mq.get("embedded", False)
    if embedded is False or embedded is None:
        return None
    if embedded is not True and not isinstance(embedded, str):
        error("c['mq']['embedded'] must be True, False, or the name of a file as `muster router --config` reads it")
        return None
    if embedded is True and isinstance(url, str) and url.startswith("wss://"):
        error("c['mq']: an embedded router with wss:// needs its certificate: 'embedded': 'router.json'")
    return {"file": None if embedded is True else embedded}
