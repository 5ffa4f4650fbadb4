"""What git steps and git pollers share."""

import re

from buildbot.config.errors import error


_SCP_STYLE = re.compile(r"^(?P<place>(?:[^-@:/\[\]][^@:/\[\]]*@)?(?:\[[^\]/]*\]|[^-:/\[\]][^:/\[\]]*)):(?P<path>(?!:).*)$", re.DOTALL)
_WINDOWS_PATH = re.compile(r"^[A-Za-z]:\\")


def scp_style_to_url(repourl, port=22):
    """`user@host:path` and `alias:path` as an address with its protocol; everything else stays.

    As git itself, but for the port: a slash before the first colon makes it a path. An absolute path keeps its slash.
    """
    if not isinstance(repourl, str) or "://" in repourl or _WINDOWS_PATH.match(repourl):
        return repourl
    match = _SCP_STYLE.match(repourl)
    if match is None:
        return repourl
    return f"ssh://{match.group('place')}:{port}/{match.group('path')}"


def check_ssh(who, private_key, host_key, known_hosts):
    """Reports keys of hosts that don't fit together."""
    if host_key is not None and private_key is None:
        error(f"{who}: sshPrivateKey must be provided in order use sshHostKey")
    if host_key is not None and known_hosts is not None:
        error(f"{who}: only one of sshKnownHosts and sshHostKey can be provided")
