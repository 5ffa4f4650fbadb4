"""Git."""

from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from buildbot.process.buildstep import BuildStep
from buildbot.steps.source.base import Source
from buildbot.util.git import check_ssh, scp_style_to_url

__all__ = ["Git", "GitCommit", "GitPush", "GitTag"]

_FULL_METHODS = ("clean", "fresh", "clobber", "copy", None)


class Git(Source):
    """Checks out a revision."""

    kind = "Git"
    name = "git"
    arguments = (
        "repourl", "branch", "reference", "submodules", "remoteSubmodules", "tags", "shallow", "filters", "progress",
        "retryFetch", "clobberOnFailure", "getDescription", "config", "origin", "sshPrivateKey", "sshHostKey",
        "sshKnownHosts", "auth_credentials", "port",
    )  # fmt: skip
    renderables = ["repourl", "reference", "branch", "codebase", "mode", "method", "origin"]

    def __init__(
        self,
        repourl=None,
        port=22,
        branch="HEAD",
        mode="incremental",
        method=None,
        reference=None,
        submodules=False,
        remoteSubmodules=False,
        tags=False,
        shallow=False,
        filters=None,
        progress=True,
        retryFetch=False,
        clobberOnFailure=False,
        getDescription=False,
        config=None,
        origin=None,
        sshPrivateKey=None,
        sshHostKey=None,
        sshKnownHosts=None,
        auth_credentials=None,
        git_credentials=None,
        **kwargs,
    ):
        if not getDescription and not isinstance(getDescription, dict):
            getDescription = False
        # An address that is rendered first becomes one with its port when the step runs.
        self.branch, self.method, self.repourl, self.port = branch, method, scp_style_to_url(repourl, port), port
        self.reference, self.submodules, self.remoteSubmodules = reference, submodules, remoteSubmodules
        self.tags, self.shallow, self.filters, self.progress = tags, shallow, filters, progress
        self.retryFetch, self.clobberOnFailure, self.config, self.origin = retryFetch, clobberOnFailure, config, origin
        self.getDescription = getDescription
        self.sshPrivateKey, self.sshHostKey, self.sshKnownHosts = sshPrivateKey, sshHostKey, sshKnownHosts
        self.auth_credentials = auth_credentials
        super().__init__(mode=mode, **kwargs)
        self.mode, self.method = mode, method
        self._check_git(git_credentials)

    def _check_git(self, git_credentials):
        if git_credentials is not None:
            error("Git: git_credentials is not supported by Muster yet")
        check_ssh("Git", self.sshPrivateKey, self.sshHostKey, self.sshKnownHosts)
        if not self.repourl:
            error("Git: must provide repourl.")
        if isinstance(self.mode, str):
            if self.mode not in ("incremental", "full"):
                error("Git: mode must be full or incremental")
            plain_method = not IRenderable.providedBy(self.method)
            if self.mode == "full" and plain_method and self.method not in _FULL_METHODS:
                error("Git: invalid method for mode 'full'.")
            shallow_matters = bool(self.shallow) and plain_method and self.method is not None
            if shallow_matters and (self.mode, self.method) != ("full", "clobber"):
                error(f"Git: in mode '{self.mode}' shallow only possible with method 'clobber'.")
        if not isinstance(self.getDescription, (bool, dict)):
            error("Git: getDescription must be a boolean or a dict.")


class _GitCommand(BuildStep):
    """What the smaller git steps have."""

    arguments = ("env", "timeout", "logEnviron", "config")

    def __init__(self, workdir=None, env=None, timeout=20 * 60, logEnviron=True, config=None, **kwargs):
        super().__init__(workdir=workdir, **kwargs)
        self.env, self.timeout, self.logEnviron, self.config = env, timeout, logEnviron, config


class GitPush(_GitCommand):
    """Pushes a branch."""

    kind = "GitPush"
    name = "gitpush"
    arguments = ("repourl", "branch", "force", "sshPrivateKey", "sshHostKey", "sshKnownHosts", "auth_credentials", "port")
    renderables = ["repourl", "branch"]

    def __init__(
        self,
        workdir=None,
        repourl=None,
        port=22,
        branch=None,
        force=False,
        env=None,
        timeout=20 * 60,
        logEnviron=True,
        sshPrivateKey=None,
        sshHostKey=None,
        sshKnownHosts=None,
        auth_credentials=None,
        git_credentials=None,
        config=None,
        **kwargs,
    ):
        super().__init__(workdir, env, timeout, logEnviron, config, **kwargs)
        self.repourl, self.port, self.branch, self.force = scp_style_to_url(repourl, port), port, branch, force
        self.sshPrivateKey, self.sshHostKey, self.sshKnownHosts = sshPrivateKey, sshHostKey, sshKnownHosts
        self.auth_credentials = auth_credentials
        if git_credentials is not None:
            error("GitPush: git_credentials is not supported by Muster yet")
        check_ssh("GitPush", sshPrivateKey, sshHostKey, sshKnownHosts)
        if not branch:
            error("GitPush: must provide branch")


class GitTag(_GitCommand):
    """Makes a tag."""

    kind = "GitTag"
    name = "gittag"
    arguments = ("tagName", "annotated", "messages", "force")
    renderables = ["repourl", "tagName", "messages"]

    def __init__(
        self,
        workdir=None,
        tagName=None,
        annotated=False,
        messages=None,
        force=False,
        env=None,
        timeout=20 * 60,
        logEnviron=True,
        config=None,
        **kwargs,
    ):
        super().__init__(workdir, env, timeout, logEnviron, config, **kwargs)
        self.tagName, self.annotated, self.messages, self.force = tagName, annotated, messages, force
        if not tagName:
            error("GitTag: must provide tagName")
        if annotated and not messages:
            error("GitTag: must provide messages in case of annotated tag")
        if not annotated and messages:
            error("GitTag: messages are required only in case of annotated tag")
        if messages and not isinstance(messages, list):
            error("GitTag: messages should be a list")


class GitCommit(_GitCommand):
    """Makes a commit."""

    kind = "GitCommit"
    name = "gitcommit"
    arguments = ("paths", "messages", "emptyCommits", "no_verify")
    renderables = ["paths", "messages"]

    def __init__(
        self,
        workdir=None,
        paths=None,
        messages=None,
        env=None,
        timeout=20 * 60,
        logEnviron=True,
        emptyCommits="disallow",
        config=None,
        no_verify=False,
        **kwargs,
    ):
        super().__init__(workdir, env, timeout, logEnviron, config, **kwargs)
        self.paths, self.messages, self.emptyCommits, self.no_verify = paths, messages, emptyCommits, no_verify
        for name, value in (("messages", messages), ("paths", paths)):
            if not value:
                error(f"GitCommit: must provide {name}")
            elif not isinstance(value, list) and not IRenderable.providedBy(value):
                error(f"GitCommit: {name} must be a list")
        if emptyCommits not in ("disallow", "create-empty-commit", "ignore"):
            error('GitCommit: emptyCommits must be one of "disallow", "create-empty-commit" and "ignore"')

