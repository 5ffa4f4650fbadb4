"""The end of secrets as files on the worker."""

from buildbot.process.buildstep import BuildStep


class RemoveWorkerFileSecret(BuildStep):
    """Removes the files."""

    kind = "RemoveWorkerFileSecret"
    name = "remove_secrets"
    alwaysRun = True
    arguments = ("paths",)
    renderables = ["paths"]

    def __init__(self, populated_secret_list, logEnviron=False, **kwargs):
        super().__init__(**kwargs)
        self.paths = [path for path, _value in populated_secret_list]
