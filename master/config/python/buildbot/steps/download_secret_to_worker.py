"""Secrets as files on the worker."""

from buildbot.process.buildstep import BuildStep


class DownloadSecretsToWorker(BuildStep):
    """Writes files that only their owner may read."""

    kind = "DownloadSecretsToWorker"
    name = "download_secrets"
    arguments = ("secret_to_be_populated",)
    renderables = ["secret_to_be_populated"]

    def __init__(self, populated_secret_list, **kwargs):
        super().__init__(**kwargs)
        self.secret_to_be_populated = populated_secret_list


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
