"""Asks a git repository for new commits."""

from buildbot.changes.base import ReconfigurablePollingChangeSource
from buildbot.config.errors import error, warn
from buildbot.interfaces import IRenderable
from buildbot.util.git import check_ssh

__all__ = ["GitPoller"]


class GitPoller(ReconfigurablePollingChangeSource):
    """Asks a git repository for new commits."""

    kind = "git_poller"
    class_name = "buildbot.changes.gitpoller.GitPoller"
    compare_attrs = ("repourl", "branches", "workdir", "gitbin", "category", "project", "only_tags")

    def __init__(
        self,
        repourl,
        branches=None,
        branch=None,
        workdir=None,
        pollInterval=10 * 60,
        gitbin="git",
        usetimestamps=True,
        category=None,
        codebase=None,
        project=None,
        fetch_refspec=None,
        encoding="utf-8",
        name=None,
        pollAtLaunch=False,
        buildPushesWithNoCommits=False,
        only_tags=False,
        sshPrivateKey=None,
        sshHostKey=None,
        sshKnownHosts=None,
        pollRandomDelayMin=0,
        pollRandomDelayMax=0,
        auth_credentials=None,
        git_credentials=None,
    ):
        if only_tags and (branch or branches):
            error("GitPoller: can't specify only_tags and branch/branches")
        if branch and branches:
            error("GitPoller: can't specify both branch and branches")
        if fetch_refspec is not None:
            error(
                "GitPoller: fetch_refspec is no longer supported. Instead, only the given branches are downloaded."
            )
        if branches and branches is not True and not callable(branches) and not _strings(branches):
            error("GitPoller: 'branches' argument must be one of list of str, True, or Callable[[str], bool]")
            branches = None
        if codebase is not None:
            error("GitPoller: codebase is not supported by Muster yet")
        if auth_credentials is not None and not _is_pair(auth_credentials):
            error("GitPoller: auth_credentials must be a pair (user, password)")
            auth_credentials = None
        if git_credentials is not None:
            error("GitPoller: git_credentials is not supported by Muster yet")
        check_ssh("GitPoller", sshPrivateKey, sshHostKey, sshKnownHosts)
        super().__init__(
            name or (str(repourl) if IRenderable.providedBy(repourl) else repourl),
            pollInterval=pollInterval,
            pollAtLaunch=pollAtLaunch,
            pollRandomDelayMin=pollRandomDelayMin,
            pollRandomDelayMax=pollRandomDelayMax,
        )
        self.repourl, self.branches = repourl, [branch] if branch else branches
        self.workdir, self.gitbin, self.usetimestamps = workdir or "gitpoller-work", gitbin, usetimestamps
        from muster_host.settings import encoding_name

        shown = f"GitPoller {self.name}: encoding"
        if encoding_name(encoding or "utf-8", shown) not in ("utf-8", "ascii"):
            warn(f"{shown} = {encoding!r} has no effect yet: commits are read as UTF-8")
        self.category, self.project, self.encoding = category, project or "", encoding
        self.buildPushesWithNoCommits, self.only_tags = buildPushesWithNoCommits, only_tags
        self.auth_credentials = auth_credentials
        self.sshPrivateKey, self.sshHostKey, self.sshKnownHosts = sshPrivateKey, sshHostKey, sshKnownHosts

    def own_data(self, encode):
        return {
            **super().own_data(encode),
            "repourl": encode.at("repourl")(self.repourl),
            "branches": self._branches_as_data(encode.at("branches")),
            "workdir": self.workdir,
            "gitbin": self.gitbin,
            "use_timestamps": bool(self.usetimestamps),
            "category": encode.at("category")(self.category),
            "project": self.project,
            "encoding": self.encoding,
            "build_pushes_with_no_commits": bool(self.buildPushesWithNoCommits),
            "only_tags": bool(self.only_tags),
            "ssh_private_key": encode(self.sshPrivateKey),
            "ssh_host_key": encode(self.sshHostKey),
            "ssh_known_hosts": encode(self.sshKnownHosts),
            "auth_credentials": encode.at("auth_credentials")(self.auth_credentials),
        }

    def _branches_as_data(self, encode):
        if not self.branches:
            return "default"
        if self.branches is True:
            return "all"
        if callable(self.branches):
            return {"callable": encode.callable(self.branches)}
        return {"names": list(self.branches)}


def _strings(values):
    return isinstance(values, (list, tuple)) and all(isinstance(value, str) for value in values)


def _is_pair(value):
    parts = value if isinstance(value, (list, tuple)) else ()
    return len(parts) == 2 and all(isinstance(part, str) or IRenderable.providedBy(part) for part in parts)
