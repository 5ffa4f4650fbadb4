"""What all steps have that fetch sources."""

from buildbot.process.buildstep import BuildStep


class Source(BuildStep):
    """Fetches sources into the work directory."""

    haltOnFailure = True
    arguments = ("mode", "method", "alwaysUseLatest", "timeout", "retry", "env", "logEnviron", "codebase")
    renderables = ["codebase", "mode", "method", "alwaysUseLatest", "timeout", "env"]

    def __init__(
        self,
        workdir=None,
        mode="update",
        alwaysUseLatest=False,
        timeout=20 * 60,
        retry=None,
        env=None,
        logEnviron=True,
        description=None,
        descriptionDone=None,
        descriptionSuffix=None,
        codebase="",
        **kwargs,
    ):
        given = {"description": description, "descriptionDone": descriptionDone, "descriptionSuffix": descriptionSuffix}
        kwargs.update({name: value for name, value in given.items() if value is not None})
        super().__init__(workdir=workdir, **kwargs)
        self.mode, self.alwaysUseLatest, self.timeout, self.retry = mode, alwaysUseLatest, timeout, retry
        self.env, self.logEnviron, self.codebase = env, logEnviron, codebase
        if codebase and isinstance(self.name, str) and isinstance(codebase, str):
            self.name = f"{self.name}-{codebase}"
        suffix = self.codebase if self.descriptionSuffix is None else self.descriptionSuffix
        self.descriptionSuffix = suffix or None
