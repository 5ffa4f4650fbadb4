"""What all steps have that fetch sources."""

from buildbot.process.buildstep import BuildStep


#: What a running and a finished step say by its mode; the others update.
_RUNNING = {"clobber": "checkout", "export": "exporting"}
_DONE = {"clobber": "checkout", "export": "export"}


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
        super().__init__(
            workdir=workdir,
            description=description or [_RUNNING.get(mode, "updating") if isinstance(mode, str) else "updating"],
            descriptionDone=descriptionDone or [_DONE.get(mode, "update") if isinstance(mode, str) else "update"],
            descriptionSuffix=descriptionSuffix or ([codebase] if codebase else None),
            **kwargs,
        )
        self.mode, self.alwaysUseLatest, self.timeout, self.retry = mode, alwaysUseLatest, timeout, retry
        self.env, self.logEnviron, self.codebase = env, logEnviron, codebase
        if codebase and isinstance(self.name, str) and isinstance(codebase, str):
            self.name = f"{self.name}-{codebase}"
