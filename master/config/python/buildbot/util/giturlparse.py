"""Parts of git addresses, also of the `user@host:path` kind."""

import re
from collections import namedtuple

GitUrl = namedtuple("GitUrl", ["proto", "user", "domain", "port", "owner", "repo"])

_ADDRESS = re.compile(
    r"^((?P<proto>https?|ssh|git|rsync|file)://)?"
    r"((?P<user>[^@/]+)@)?"
    r"(?P<domain>[^/:]*)?"
    r"(:(?P<port>\d+)(?=/))?"
    r"[/:]+"
    r"((?P<owner>.+)/)?"
    r"(?P<repo>[^/]+?)(\.git)?/?$"
)


def giturlparse(url):
    """The parts, or `None` where this is no such address."""
    match = _ADDRESS.match(url)
    if match is None or not match.group("repo"):
        return None
    port = match.group("port")
    return GitUrl(
        match.group("proto") or "ssh",
        match.group("user"),
        match.group("domain"),
        None if port is None else int(port),
        match.group("owner"),
        match.group("repo"),
    )
