"""Executes a configuration file, and goes on behind a statement that fails, so that one run finds all mistakes.

What a failed statement would have bound is unknown from then on: a placeholder that accepts everything, so that nobody is
told about consequences. Without a failure the file is executed in one piece, and nothing here is in between.
"""

import ast
import importlib.machinery
import sys
import traceback

from buildbot.config.errors import ConfigErrors, error
from muster_host import not_yet
from muster_host.location import NOWHERE, Location, is_ours, is_standard_library

#: After so many failed statements the rest is left alone: then it is the same mistake again and again.
MAX_FAILURES = 30


class Stopped(Exception):
    """The configuration ended itself, or fails all the time: nothing more is executed."""


class Execution:
    """One file and the modules that it imports."""

    def __init__(self, path):
        self._path = path
        self._failures = 0
        #: Modules that failed while they were imported, by name: Python forgets them.
        self._half_made = {}

    @property
    def failed(self):
        """Whether something failed, so that names and keys may be missing."""
        return self._failures > 0

    def run(self, text, namespace):
        """Executes the text; what fails is reported."""
        try:
            code = compile(text, self._path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as failed:
            self._report(failed)
            return
        kept = importlib.machinery.SourceFileLoader.exec_module
        importlib.machinery.SourceFileLoader.exec_module = self._remembering(kept)
        failed = None
        try:
            try:
                exec(code, namespace)
            except ConfigErrors:
                raise
            except BaseException as raised:
                # Also SystemExit: a configuration that calls exit() must not take the host with it in silence.
                failed = raised
            # Out of the handler, so that what fails later is not shown as a consequence.
            if failed is not None:
                self._go_on(failed, _Body(self._path, text, namespace))
        except Stopped:
            pass
        finally:
            importlib.machinery.SourceFileLoader.exec_module = kept

    def _remembering(self, exec_module):
        def wrapped(loader, module):
            try:
                exec_module(loader, module)
            except BaseException:
                self._half_made[module.__name__] = module
                raise

        return wrapped

    def _go_on(self, failed, body):
        """Reports what failed in a body, and executes what comes behind."""
        while failed is not None:
            index = body.index_of(failed)
            inner = self._inner_bodies(failed, body)
            if not (inner and isinstance(failed, SyntaxError)) and not self._is_consequence(failed, body):
                self._report(failed)
            if index is None or not isinstance(failed, Exception):
                raise Stopped
            if inner and not isinstance(failed, SyntaxError):
                self._finish(failed, inner)
                # The modules are there now, as far as they go.
                failed = body.execute(index, index + 1)
                if failed is None:
                    failed = body.execute(index + 1, None)
                    continue
            body.forget(index)
            failed = body.execute(index + 1, None)

    def _finish(self, failed, inner):
        """Executes the rest of the modules in which an import failed, the innermost first."""
        for module, body in reversed(inner):
            index = body.index_of(failed)
            if index is None:
                continue
            sys.modules[module.__name__] = module
            parent, _, name = module.__name__.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], name, module)
            again = None if body is inner[-1][1] else body.execute(index, index + 1)
            if again is not None or body is inner[-1][1]:
                body.forget(index)
            more = body.execute(index + 1, None)
            if more is not None:
                self._go_on(more, body)

    def _inner_bodies(self, failed, outer):
        """The user's modules whose import failed, from the outermost to the innermost."""
        found = []
        for frame, _line in traceback.walk_tb(failed.__traceback__):
            name = frame.f_globals.get("__name__")
            module = self._half_made.get(name)
            if frame.f_code.co_name != "<module>" or frame.f_globals is outer.namespace or module is None:
                continue
            if vars(module) is frame.f_globals and all(module is not other for other, _body in found):
                try:
                    with open(frame.f_code.co_filename, "rb") as file:
                        found.append((module, _Body(frame.f_code.co_filename, file.read(), frame.f_globals)))
                except (OSError, SyntaxError):
                    return []
        return found

    @staticmethod
    def _is_consequence(failed, body):
        """Whether the exception only says that something of an earlier statement is missing."""
        if isinstance(failed, NameError) and body.names_are_missing:
            return True
        return not_yet.MARK in str(failed)

    def _report(self, failed):
        self._failures += 1
        if self._failures > MAX_FAILURES:
            raise Stopped
        if isinstance(failed, SyntaxError):
            shown = "".join(traceback.format_exception_only(type(failed), failed)).rstrip()
            where = Location(failed.filename or self._path, failed.lineno or 0)
            error(f"encountered a SyntaxError while parsing config file:\n{shown}", location=where)
            return
        print_traceback(failed)
        text = f"error while parsing config file: {_text_of(failed)} (traceback in logfile)"
        error(text, location=_innermost(failed))


class _Body:
    """The statements of one file, which were executed up to one that failed."""

    def __init__(self, path, text, namespace):
        self._path, self.namespace = path, namespace
        self._statements = ast.parse(text).body
        # `from __future__ import …` holds for what comes behind it.
        self._flags = compile(text, path, "exec", dont_inherit=True).co_flags & _FUTURE
        self.names_are_missing = False

    def index_of(self, failed):
        """Which statement failed; `None` when it is none of these."""
        line = None
        for frame, number in traceback.walk_tb(failed.__traceback__):
            if frame.f_globals is self.namespace and frame.f_code.co_name == "<module>":
                line = number
                break
        for index, statement in enumerate(self._statements):
            if line is not None and _first_line(statement) <= line <= statement.end_lineno:
                return index
        return None

    def execute(self, first, end):
        """Executes these statements; gives the exception of the first one that fails."""
        rest = ast.Module(self._statements[first:end], [])
        try:
            exec(compile(rest, self._path, "exec", self._flags, dont_inherit=True), self.namespace)
        except BaseException as failed:
            return failed
        return None

    def forget(self, index):
        """Makes what a failed statement would have bound unknown."""
        names = _bound_by(self._statements[index])
        self.names_are_missing |= "*" in names
        for name in names - {"*"}:
            self.namespace.setdefault(name, not_yet.unknown(name))


_FUTURE = 0
for _name in __import__("__future__").all_feature_names:
    _FUTURE |= getattr(__import__("__future__"), _name).compiler_flag


def _first_line(statement):
    return min([statement.lineno, *(decorator.lineno for decorator in getattr(statement, "decorator_list", ()))])


def _bound_by(statement):
    names = set()
    waiting = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name.split(".")[0]) for alias in node.names)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if not isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            waiting.extend(ast.iter_child_nodes(node))
    return names


def print_traceback(failed):
    """The traceback, as far as it is about the user's own code, to where the master shows it."""
    shown = traceback.TracebackException.from_exception(failed)
    frames = [frame for frame in shown.stack if not is_ours(frame.filename) and not frame.filename.startswith("<frozen ")]
    shown.stack = traceback.StackSummary.from_list(frames)
    print("".join(shown.format()), end="", file=sys.stderr)


def _text_of(failed):
    text = str(failed) or type(failed).__name__
    if isinstance(failed, ModuleNotFoundError) and failed.name:
        return f"{text}{_how_to_find(failed.name)}"
    return text


def _how_to_find(module):
    python = sys.executable
    return (
        f": {python} evaluates the configuration. Install it there ('{python} -m pip install {module.split('.')[0]}', or as a "
        "package of the system), or let another interpreter do it: start Muster in the virtual environment that has it, or "
        "with MUSTER_PYTHON=<path of that environment>/bin/python"
    )


def _innermost(failed):
    """The last line of the user's own code in the traceback."""
    where = NOWHERE
    for frame, line in traceback.walk_tb(failed.__traceback__):
        filename = frame.f_code.co_filename
        if not is_ours(filename) and not filename.startswith("<") and not is_standard_library(filename):
            where = Location(filename, line)
    return where
