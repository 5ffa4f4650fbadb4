"""Keys of `BuildmasterConfig` that hold plain settings."""

import codecs
import re
from types import SimpleNamespace

from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from muster_host.encode import pattern_text
from muster_host.not_yet import is_stand_in

_TITLE_LENGTH = 18
_DEFAULT_METHOD = "gz"
_METHODS = ("raw", "bz2", "gz", "lz4", "br", "zstd")

#: Keys that change nothing, and why; whoever sets one is told so.
WITHOUT_EFFECT = {
    "buildbotNetUsageData": "Muster sends nothing to anybody",
    "buildCacheSize": "Muster keeps no cache of builds",
    "caches": "Muster keeps no such caches",
    "changeCacheSize": "Muster keeps no cache of changes",
    "logCompressionLimit": "small logs are compressed, too, as in Buildbot 4.3; c['logCompressionMethod'] = 'raw' compresses none",
    "logMaxSize": "logs are not limited, as in Buildbot 4.3",
    "logMaxTailSize": "logs are not limited, as in Buildbot 4.3",
}

#: Encodings of logs that the master can read, by Python's names.
ENCODINGS = frozenset(
    """
    utf-8 ascii iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-10
    iso8859-13 iso8859-14 iso8859-15 iso8859-16 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
    cp866 koi8-r koi8-u mac-roman cp932 shift_jis euc_jp iso2022_jp gb2312 gbk gb18030 big5 euc_kr cp949 utf-16-le
    utf-16-be
    """.split()
)

#: Functions that choose, and what their errors say beyond "must be a callable".
_FUNCTIONS = {
    "codebaseGenerator": " accepting a dict and returning a str",
    "prioritizeBuilders": "",
    "select_next_worker": "",
}

#: What people enter and patterns restrict.
_VALIDATED = ("branch", "revision", "property_name", "property_value")

#: Protocols that workers may speak. `session` is Muster's own.
_PROTOCOLS = ("session", "pb", "msgpack_experimental_v7", "null")
_SESSION_PORT = "9990"


def read_global(values):
    """Title, addresses, logs, the functions that choose: everything without a section of its own."""
    read = SimpleNamespace(warnings=[])
    read.title = _typed(values, "title", "Buildbot", str, "c['title'] must be a string")
    if len(read.title) > _TITLE_LENGTH:
        read.warnings.append(f"c['title'] is longer than {_TITLE_LENGTH} characters; pages may cut it off")
    read.title_url = _address(values, "titleURL", "http://buildbot.net/")
    read.buildbot_url = _address(values, "buildbotURL", "http://localhost:8080/")
    read.change_horizon = _typed(values, "changeHorizon", None, int, "c['changeHorizon'] must be an int")
    if read.change_horizon is not None and read.change_horizon < 0:
        error("c['changeHorizon'] must not be negative")
        read.change_horizon = None
    for name in ("logCompressionLimit", "logMaxSize", "logMaxTailSize"):
        # The manual switches compression off by a limit of False.
        if values.get(name) is not False or name != "logCompressionLimit":
            _typed(values, name, None, int, f"c['{name}'] must be an int")
    for name, why in WITHOUT_EFFECT.items():
        if values.get(name) is not None:
            read.warnings.append(f"c['{name}'] has no effect: {why}")
    read.log_compression_method = values.get("logCompressionMethod") or "zstd"
    read.log_compression_is_named = bool(values.get("logCompressionMethod"))
    if read.log_compression_method not in _METHODS:
        error("c['logCompressionMethod'] must be 'raw', 'bz2', 'gz', 'lz4', 'br' or 'zstd'")
        read.log_compression_method = _DEFAULT_METHOD
    read.log_encoding = check_log_encoding(values.get("logEncoding"), "c['logEncoding']")
    read.properties = _typed(values, "properties", {}, dict, "c['properties'] must be a dictionary")
    read.collapse = values.get("collapseRequests")
    if read.collapse not in (None, True, False) and not callable(read.collapse):
        error("collapseRequests must be a callable, True, or False")
    read.functions = {}
    for name, suffix in _FUNCTIONS.items():
        function = values.get(name)
        if function is not None and not callable(function):
            error(f"{name} must be a callable{suffix}")
            function = None
        read.functions[name] = function
    read.protocols, read.protocols_refused = read_protocols(values)
    read.multi_master = bool(values.get("multiMaster"))
    read.validation = _read_validation(values)
    return read


def check_log_encoding(given, shown):
    """The name of an encoding of logs that Muster can read."""
    if not given:
        return "utf-8"
    if not isinstance(given, str):
        what = "a function" if callable(given) else repr(given)
        error(f"{shown}: {what} is not supported by Muster yet; only names of encodings are")
        return "utf-8"
    name = encoding_name(given, shown)
    if name not in ENCODINGS:
        error(f"{shown}: the encoding {given!r} is not supported by Muster yet")
    return name


def encoding_name(given, shown):
    """Python's own name of an encoding."""
    try:
        name = codecs.lookup(given).name
        b"".decode(name)
        return name
    except (LookupError, TypeError, ValueError):
        error(f"{shown}: there is no encoding {given!r}")
        return "utf-8"


def _typed(values, name, default, kind, text):
    value = values.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        error(text)
        return default
    return value


def _address(values, name, default):
    address = _typed(values, name, default, str, f"c['{name}'] must be a string")
    return address if address.endswith("/") else address + "/"


def _read_validation(values):
    """The patterns as texts, with their flags."""
    read = dict.fromkeys(_VALIDATED)
    validation = values.get("validation")
    if validation is None:
        return read
    if not isinstance(validation, dict):
        error("c['validation'] must be a dictionary")
        return read
    unknown = sorted(str(key) for key in set(validation) - set(_VALIDATED))
    if unknown:
        error(f"unrecognized validation key(s): {', '.join(unknown)}")
    for name in sorted(set(validation) & set(_VALIDATED)):
        pattern = validation[name]
        if not isinstance(pattern, re.Pattern) or not isinstance(pattern.pattern, str):
            error(f"c['validation']['{name}'] must be a compiled pattern of text, re.compile(r'...')")
        else:
            read[name] = pattern_text(pattern)
    return read


def read_protocols(values):
    """Protocol -> its settings, with ports as text; and whether some protocol was refused."""
    protocols = values.get("protocols") or {}
    if not isinstance(protocols, dict):
        error("c['protocols'] must be dict")
        return {}, False
    read, refused = {}, False
    for name, given in protocols.items():
        if not isinstance(name, str):
            error("c['protocols'] keys must be strings")
        elif not isinstance(given, dict):
            error(f"c['protocols']['{name}'] must be a dict")
        elif name not in _PROTOCOLS:
            error(f"c['protocols']['{name}'] is not supported by Muster yet; its own workers use 'session'")
            refused = True
        else:
            read[name] = _protocol(name, given)
    return read, refused


def _protocol(name, given):
    unknown = sorted(str(key) for key in given if key != "port")
    if unknown:
        error(f"c['protocols']['{name}']: unknown key(s) {', '.join(unknown)}")
    port = given.get("port", _SESSION_PORT if name == "session" else None)
    shown = f"c['protocols']['{name}']['port']"
    if not isinstance(port, (list, tuple)):
        return {"port": port_text(port, shown), "more_ports": []}
    ports = [port_text(each, shown) for each in port]
    if not ports or None in ports:
        error(f"{shown} must be a port, or a list of ports, not {port!r}")
        return {"port": None, "more_ports": []}
    return {"port": ports[0], "more_ports": ports[1:]}


def port_text(port, shown):
    """A port as text; a bare number stays one."""
    if port is None or isinstance(port, str):
        return port
    if type(port) is int and 0 <= port <= 65535:
        return str(port)
    error(f"{shown} must be a port number or a strports string, not {port!r}")
    return None


def read_db(values):
    """The address of the database."""
    default = "sqlite:///state.sqlite"
    db = values.get("db")
    if db is None:
        return values.get("db_url") or default
    if not isinstance(db, dict):
        error("c['db'] must be a dictionary")
        return default
    if set(db) - {"db_url", "engine_kwargs"}:
        error("unrecognized keys in c['db']")
    if db.get("engine_kwargs"):
        error("c['db']['engine_kwargs'] is not supported by Muster yet")
    url = db.get("db_url") or default
    if not isinstance(url, str) and not IRenderable.providedBy(url):
        error("c['db']['db_url'] must be a string or a renderable")
        return default
    return url


def read_secrets_providers(values):
    """The providers, in the order in which they are asked."""
    providers = values.get("secretsProviders") or []
    if not isinstance(providers, (list, tuple)):
        error("c['secretsProviders'] must be a list")
        return []
    return [provider for provider in providers if not is_stand_in(provider)]


def read_caches(values):
    """Sizes of caches by name."""
    caches = {"Builds": 15, "Changes": 10}
    given = values.get("caches")
    for old, name in (("buildCacheSize", "Builds"), ("changeCacheSize", "Changes")):
        if old in values and given is not None:
            error(f"cannot specify c['caches'] and c['{old}']")
        elif old in values:
            given = {**(given or {}), name: values[old]}
    if given is not None and not isinstance(given, dict):
        error("c['caches'] must be a dictionary")
        return caches
    for name, size in (given or {}).items():
        if type(size) is not int:
            error(f"value for cache size '{name}' must be an integer")
        elif size < 1:
            error(f"'{name}' cache size must be at least 1, got '{size}'")
        else:
            caches[str(name)] = size
    return caches


def global_data(read, encode):
    """The global settings for the snapshot."""
    functions = {name: encode.at(name).optional_callable(function) for name, function in read.functions.items()}
    return {
        "title": read.title,
        "title_url": read.title_url,
        "buildbot_url": read.buildbot_url,
        "properties": encode.at("properties").values(read.properties),
        "multi_master": read.multi_master,
        "log_compression_method": read.log_compression_method,
        "log_compression_is_named": read.log_compression_is_named,
        "log_encoding": {"name": read.log_encoding},
        "validation": read.validation,
        "collapse_requests": collapse_data(read.collapse, encode.at("collapseRequests")),
        "prioritize_builders": functions["prioritizeBuilders"],
        "select_next_worker": functions["select_next_worker"],
        "codebase_generator": functions["codebaseGenerator"],
        "change_horizon": read.change_horizon,
        "protocols": read.protocols,
    }


def collapse_data(setting, encode):
    """How requests are collapsed."""
    if setting is None:
        return "default"
    return {"callable": encode.callable(setting)} if callable(setting) else "on" if setting else "off"
