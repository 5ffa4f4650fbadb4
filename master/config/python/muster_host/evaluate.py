"""Executes a configuration file and finds `BuildmasterConfig` in it."""

import os
import sys

from buildbot.config.errors import capture_config_errors, error
from muster_host import distribution, loaders, logs, not_yet
from muster_host.execute import Execution


def load(basedir, config_file, functions, partial=None):
    """The snapshot of one configuration, and its providers of secrets.

    Raises `ConfigErrors` with everything that is wrong, in the order of discovery. What can be said about the configuration
    nevertheless is put into `partial`, for checks that are made elsewhere.
    """
    not_yet.install()
    distribution.install()
    logs.install()
    with capture_config_errors(raise_on_error=True) as collected:
        path = os.path.abspath(os.path.join(basedir, config_file))
        values, complete = _execute(basedir, path, config_file)
        snapshot, providers = {}, []
        if not not_yet.is_stand_in(values):
            snapshot, providers = loaders.read(path, values, functions, collected, complete)
        logs.flush()
        if collected and partial is not None:
            partial.update(snapshot)
    return snapshot, providers


def _execute(basedir, path, shown):
    if not os.path.isdir(basedir):
        error(f"basedir '{basedir}' does not exist", always_raise=True)
    if not os.path.exists(path):
        error(f"configuration file '{path}' does not exist", always_raise=True)
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as failed:
        error(f"unable to open configuration file {path!r}: {failed}", always_raise=True)
    namespace = {"basedir": os.path.expanduser(basedir), "__file__": path}
    execution = Execution(path)
    _run(execution, text, basedir, namespace)
    if "BuildmasterConfig" not in namespace:
        if not execution.failed:
            error(f"Configuration file {shown!r} does not define 'BuildmasterConfig'", always_raise=True)
        return not_yet.unknown("BuildmasterConfig")(), False
    return namespace["BuildmasterConfig"], not execution.failed


def _run(execution, text, basedir, namespace):
    search_path = sys.path[:]
    sys.path.append(basedir)
    os.chdir(basedir)
    try:
        execution.run(text, namespace)
    finally:
        sys.path[:] = search_path
