"""Secrets as files on the worker, and their end."""

from buildbot.config.errors import error
from buildbot.process.buildstep import BuildStep


def _check(step, secrets):
    """The pairs of a path and a secret; an error is reported where they are something else."""
    if isinstance(secrets, (list, tuple)) and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in secrets):
        return [tuple(pair) for pair in secrets]
    error(f"{step}: populated_secret_list must be a list of pairs (path, secret)")
    return []


class DownloadSecretsToWorker(BuildStep):
    """Writes files that only their owner may read."""

    kind = "DownloadSecretsToWorker"
    arguments = ("populated_secret_list",)
    renderables = ["populated_secret_list"]

    def __init__(self, populated_secret_list, **kwargs):
        super().__init__(**kwargs)
        self.populated_secret_list = _check("DownloadSecretsToWorker", populated_secret_list)


class RemoveWorkerFileSecret(BuildStep):
    """Removes the files."""

    kind = "RemoveWorkerFileSecret"
    arguments = ("populated_secret_list",)
    renderables = ["populated_secret_list"]

    def __init__(self, populated_secret_list, logEnviron=False, **kwargs):
        super().__init__(**kwargs)
        self.populated_secret_list = _check("RemoveWorkerFileSecret", populated_secret_list)

    def own_arguments(self):
        """The paths alone: secrets that are not needed are not asked for."""
        return {"populated_secret_list": [path for path, _secret in self.populated_secret_list]}
