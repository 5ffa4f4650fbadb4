"""Executes a configuration file and finds `BuildmasterConfig` in it."""

import os
import sys
import traceback

from buildbot.config.errors import ConfigErrors, capture_config_errors, error
from muster_host import loaders, not_yet
from muster_host.location import Location, NOWHERE, is_ours


def load(basedir, config_file, functions):
    """The snapshot of one configuration, and its providers of secrets.

    Raises `ConfigErrors` with everything that is wrong, in the order of discovery.
    """
    not_yet.install()
    with capture_config_errors(raise_on_error=True) as collected:
        path = os.path.abspath(os.path.join(basedir, config_file))
        values = _execute(basedir, path, config_file)
        snapshot, providers = loaders.read(path, values, functions, collected)
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
    _run(text, path, basedir, namespace)
    if "BuildmasterConfig" not in namespace:
        error(f"Configuration file {shown!r} does not define 'BuildmasterConfig'", always_raise=True)
    return namespace["BuildmasterConfig"]


def _run(text, path, basedir, namespace):
    search_path = sys.path[:]
    sys.path.append(basedir)
    os.chdir(basedir)
    try:
        exec(compile(text, path, "exec", dont_inherit=True), namespace)
    except ConfigErrors:
        raise
    except SyntaxError as failed:
        shown = "".join(traceback.format_exception_only(type(failed), failed)).rstrip()
        where = Location(failed.filename or path, failed.lineno or 0)
        text = f"encountered a SyntaxError while parsing config file:\n{shown}"
        error(text, always_raise=True, location=where)
    except BaseException as failed:
        # Also SystemExit: a configuration that calls exit() must not take the host with it in silence.
        traceback.print_exc()
        text = f"error while parsing config file: {_text_of(failed)} (traceback in logfile)"
        error(text, always_raise=True, location=_innermost(failed))
    finally:
        sys.path[:] = search_path


def _text_of(failed):
    return str(failed) or type(failed).__name__


def _innermost(failed):
    """The last line of the user's own code in the traceback."""
    where = NOWHERE
    for frame, line in traceback.walk_tb(failed.__traceback__):
        filename = frame.f_code.co_filename
        if not is_ours(filename) and not filename.startswith("<"):
            where = Location(filename, line)
    return where
