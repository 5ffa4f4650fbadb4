"""Writes down the public names of an installed Buildbot: `PYTHON record.py > master/config/python/muster_host/public_names.txt`.

Run with the interpreter of that installation. Only names, kinds and where a name comes from are written.
"""

import ast
import importlib
import inspect
import pkgutil
import sys
import types
import warnings
from importlib import metadata
from unittest import mock

#: Not for configurations: tests, migrations of the schema, and what only Windows can import.
LEFT_OUT = ("buildbot.test", "buildbot.db.migrations", "buildbot.monkeypatches", "buildbot.scripts.windows_service")
#: Libraries that modules import at their head and that need not be there for their names.
STUBBED = ("requests", "evalidate", "aiohttp", "ldap3", "docker")


def modules():
    for name in STUBBED:
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = mock.MagicMock()
    import buildbot

    yield buildbot
    for found in pkgutil.walk_packages(buildbot.__path__, "buildbot.", onerror=lambda name: None):
        if found.name.startswith(LEFT_OUT) or found.name.endswith("__main__"):
            continue
        try:
            yield importlib.import_module(found.name)
        except BaseException as failed:
            print(f"{found.name}: {failed}", file=sys.stderr)


def imports(module):
    """Name -> "module" or "module.attribute" of what the module's import statements bind."""
    found = {}
    try:
        source = inspect.getsource(module)
    except OSError:
        # An empty module has no source.
        return found
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            for alias in node.names:
                found[alias.asname or alias.name] = f"{base}.{alias.name}"
    return found


def kind(value):
    from zope.interface.interface import InterfaceClass

    if isinstance(value, InterfaceClass):
        return "?"
    if isinstance(value, type):
        return "!" if issubclass(value, BaseException) else ""
    return "()" if callable(value) else "#"


def names(module):
    imported = imports(module)
    for name, value in sorted(vars(module).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, types.ModuleType):
            if value.__name__ != f"{module.__name__}.{name}" and not value.__name__.startswith(LEFT_OUT):
                yield f"{name}={value.__name__}"
        elif name in imported:
            if not imported[name].startswith((*LEFT_OUT, "typing.", "__future__.", "collections.abc.")):
                yield f"{name}={imported[name]}"
        else:
            yield name + kind(value)


def plugins():
    points = [point for point in metadata.distribution("buildbot").entry_points if point.group.startswith("buildbot.")]
    for group in sorted({point.group for point in points}):
        of_group = (f"{point.name}={point.value.replace(':', '.')}" for point in points if point.group == group)
        yield f"{group}: {' '.join(sorted(of_group))}"


def main():
    warnings.simplefilter("ignore")
    import buildbot

    print(f"# The public names of Buildbot {buildbot.version}, by module; written by tests/golden/names/record.py.")
    print("# NAME a class, NAME() a function, NAME! an exception, NAME? an interface, NAME# a value, NAME=PLACE an import.")
    for module in sorted(modules(), key=lambda module: module.__name__):
        print(f"{module.__name__}: {' '.join(names(module))}".rstrip())
    print("# The plugins: namespace, name and place.")
    for line in plugins():
        print(line.replace("buildbot.", "@", 1))


main()
