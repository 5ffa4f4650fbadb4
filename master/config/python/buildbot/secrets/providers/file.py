"""Secrets in files."""

import os
import stat

from buildbot.config.errors import error
from buildbot.secrets.providers.base import SecretProviderBase


class SecretInAFile(SecretProviderBase):
    """One file for each secret, in one directory that nobody else may read."""

    name = "SecretInAFile"

    def __init__(self, dirname, suffixes=None, strip=True):
        super().__init__()
        self.secrets = {}
        for file in sorted(os.listdir(dirname)) if _is_directory(dirname) else ():
            path = os.path.join(dirname, file)
            if os.path.isfile(path):
                self._read(path, [""] if suffixes is None else suffixes, strip)

    def _read(self, path, suffixes, strip):
        if stat.S_IMODE(os.stat(path).st_mode) & 0o007:
            error(
                f"the permissions on file {os.path.basename(path)} are too open. It is required that your secret files "
                "are NOT accessible by others!"
            )
            return
        file = os.path.basename(path)
        for suffix in suffixes:
            if file.endswith(suffix):
                with open(path, encoding="utf-8") as source:
                    text = source.read()
                self.secrets[file[: len(file) - len(suffix)]] = text.rstrip("\r\n") if strip else text

    def get(self, entry):
        """The content of that file."""
        return self.secrets.get(entry)


def _is_directory(dirname):
    if os.path.isdir(dirname):
        return True
    error(f"directory {dirname} does not exist")
    return False
