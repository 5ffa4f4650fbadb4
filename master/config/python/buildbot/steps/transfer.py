"""Steps that carry files between master and worker."""

import json

from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from buildbot.process.buildstep import BuildStep

__all__ = [
    "DirectoryUpload", "FileDownload", "FileUpload", "JSONPropertiesDownload", "JSONStringDownload",
    "MultipleFileUpload", "StringDownload",
]  # fmt: skip


def _need(number, *given):
    """Two paths are needed; without them Python's own kind of error is raised."""
    if any(value is None for value in given):
        raise TypeError(f"__init__() takes at least {number} arguments")


def _check_mode(mode, text="mode must be an integer or None"):
    if not isinstance(mode, (int, type(None))):
        error(text)


def _check_compress(compress):
    if compress not in (None, "gz", "bz2"):
        error("'compress' must be one of None, 'gz', or 'bz2'")


class _TransferBuildStep(BuildStep):
    haltOnFailure = True
    #: What a download sends in one piece is the worker's affair: blocksize is for uploads.
    arguments = ("maxsize",)

    def __init__(self, workdir=None, maxsize=None, blocksize=None, **kwargs):
        self.maxsize, self.blocksize = maxsize, blocksize
        super().__init__(workdir=workdir, **kwargs)


class FileUpload(_TransferBuildStep):
    """One file from the worker to the master."""

    kind = "FileUpload"
    required = ("workersrc", "masterdest")
    name = "upload"
    arguments = ("blocksize", "workersrc", "masterdest", "mode", "keepstamp", "url", "urlText")
    renderables = ["masterdest", "url", "urlText", "workersrc"]

    def __init__(
        self,
        workersrc=None,
        masterdest=None,
        workdir=None,
        maxsize=None,
        blocksize=256 * 1024,
        mode=None,
        keepstamp=False,
        url=None,
        urlText=None,
        **buildstep_kwargs,
    ):
        _need(3, workersrc, masterdest)
        super().__init__(workdir=workdir, maxsize=maxsize, blocksize=blocksize, **buildstep_kwargs)
        _check_mode(mode)
        self.workersrc, self.masterdest, self.mode = workersrc, masterdest, mode
        self.keepstamp, self.url, self.urlText = keepstamp, url, urlText


class DirectoryUpload(_TransferBuildStep):
    """A directory from the worker to the master."""

    kind = "DirectoryUpload"
    required = ("workersrc", "masterdest")
    name = "upload"
    arguments = ("blocksize", "workersrc", "masterdest", "compress", "url", "urlText")
    renderables = ["workersrc", "masterdest", "url", "urlText"]

    def __init__(
        self,
        workersrc=None,
        masterdest=None,
        workdir=None,
        maxsize=None,
        blocksize=16 * 1024,
        compress=None,
        url=None,
        urlText=None,
        **buildstep_kwargs,
    ):
        _need(3, workersrc, masterdest)
        super().__init__(workdir=workdir, maxsize=maxsize, blocksize=blocksize, **buildstep_kwargs)
        _check_compress(compress)
        self.workersrc, self.masterdest, self.compress = workersrc, masterdest, compress
        self.url, self.urlText = url, urlText


class MultipleFileUpload(_TransferBuildStep):
    """Files and directories from the worker to the master."""

    kind = "MultipleFileUpload"
    required = ("workersrcs", "masterdest")
    name = "upload"
    arguments = (
        "blocksize", "workersrcs", "masterdest", "glob", "mode", "compress", "keepstamp", "url", "urlText",
    )  # fmt: skip
    renderables = ["workersrcs", "masterdest", "url", "urlText"]

    def __init__(
        self,
        workersrcs=None,
        masterdest=None,
        workdir=None,
        maxsize=None,
        blocksize=16 * 1024,
        glob=False,
        mode=None,
        compress=None,
        keepstamp=False,
        url=None,
        urlText=None,
        **buildstep_kwargs,
    ):
        _need(3, workersrcs, masterdest)
        super().__init__(workdir=workdir, maxsize=maxsize, blocksize=blocksize, **buildstep_kwargs)
        _check_mode(mode)
        _check_compress(compress)
        self.workersrcs = [workersrcs] if isinstance(workersrcs, str) else workersrcs
        self.masterdest, self.glob, self.mode = masterdest, glob, mode
        self.compress, self.keepstamp, self.url, self.urlText = compress, keepstamp, url, urlText


class FileDownload(_TransferBuildStep):
    """One file from the master to the worker."""

    kind = "FileDownload"
    required = ("workerdest",)
    name = "download"
    arguments = ("mastersrc", "workerdest", "mode")
    renderables = ["mastersrc", "workerdest"]

    def __init__(
        self, mastersrc, workerdest=None, workdir=None, maxsize=None, blocksize=16 * 1024, mode=None, **buildstep_kwargs
    ):
        _need(3, workerdest)
        super().__init__(workdir=workdir, maxsize=maxsize, blocksize=blocksize, **buildstep_kwargs)
        _check_mode(mode)
        self.mastersrc, self.workerdest, self.mode = mastersrc, workerdest, mode


class StringDownload(_TransferBuildStep):
    """A text as a file on the worker."""

    kind = "StringDownload"
    required = ("workerdest",)
    name = "string_download"
    arguments = ("s", "workerdest", "mode")
    renderables = ["workerdest", "s"]

    def __init__(
        self, s, workerdest=None, workdir=None, maxsize=None, blocksize=16 * 1024, mode=None, **buildstep_kwargs
    ):
        _need(3, workerdest)
        super().__init__(workdir=workdir, maxsize=maxsize, blocksize=blocksize, **buildstep_kwargs)
        _check_mode(mode, f"StringDownload step's mode must be an integer or None, got '{mode}'")
        self.s, self.workerdest, self.mode = s, workerdest, mode


class JSONStringDownload(StringDownload):
    """A value as a JSON file on the worker."""

    name = "json_download"

    def __init__(self, o, workerdest=None, **buildstep_kwargs):
        _need(3, workerdest)
        if "s" in buildstep_kwargs:
            error("JSONStringDownload: argument 's' can't be given, it is made of 'o'")
            buildstep_kwargs.pop("s")
        super().__init__(s=o, workerdest=workerdest, **buildstep_kwargs)

    def own_arguments(self):
        """Plain values are written at once; others when they are rendered."""
        from buildbot.process.properties import Transform

        arguments = super().own_arguments()
        arguments["s"] = Transform(json.dumps, self.s) if _holds_renderable(self.s) else json.dumps(self.s)
        return arguments


class JSONPropertiesDownload(StringDownload):
    """All properties and sourcestamps as a JSON file on the worker."""

    kind = "JSONPropertiesDownload"
    required = ("workerdest",)
    name = "json_properties_download"
    without = ("s",)

    def __init__(self, workerdest=None, **buildstep_kwargs):
        _need(2, workerdest)
        if "s" in buildstep_kwargs:
            error("JSONPropertiesDownload: argument 's' can't be given, it is made of the properties")
            buildstep_kwargs.pop("s")
        super().__init__(s=None, workerdest=workerdest, **buildstep_kwargs)


def _holds_renderable(value):
    if isinstance(value, dict):
        return any(_holds_renderable(item) for item in [*value.keys(), *value.values()])
    if isinstance(value, (list, tuple)):
        return any(_holds_renderable(item) for item in value)
    return IRenderable.providedBy(value)
