"""Checks that need more than one key of the configuration."""

import importlib.util
import os
from collections import Counter

from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from buildbot.util.identifiers import isIdentifier
from muster_host import overrides

_RESERVED_WORKERS = ("debug", "change", "status")
_WORKER_NAME_LENGTH = 50


def good_worker(worker):
    """Whether this is a worker with a good name; if not, it is reported."""
    from buildbot.worker.base import AbstractWorker

    if not isinstance(worker, AbstractWorker):
        error(f"c['workers'] must be a list of Worker instances but there is {worker!r}")
        return False

    def complain(text):
        error(text, location=worker.location)
        return False

    name = worker.name
    if name in _RESERVED_WORKERS:
        return complain(f"worker name '{name}' is reserved")
    if len(name) > _WORKER_NAME_LENGTH:
        return complain(f"worker name '{name}' is longer than {_WORKER_NAME_LENGTH} characters")
    if not isIdentifier(_WORKER_NAME_LENGTH, name):
        complain(f"worker name '{name}' is not an identifier")
        return False if name else complain("worker name '' cannot be an empty string")
    return True


def check(loaded):
    """All of them, in Buildbot's order."""
    _check_overrides(loaded)
    if not loaded.settings.multi_master:
        _check_single_master(loaded)
    _check_schedulers(loaded)
    _check_locks(loaded)
    _check_projects(loaded)
    _check_descriptions(loaded)
    _check_missing_mails(loaded)
    _check_builders(loaded)
    _check_ports(loaded)


def _check_overrides(loaded):
    values = loaded.values
    overrides.check(
        loaded.workers, loaded.builders, loaded.schedulers, loaded.change_sources, loaded.reporters, loaded.projects,
        loaded.providers, loaded.settings.properties, values.get("services"), values.get("www"),
    )  # fmt: skip


def last_of_each(items, what, warnings):
    """Items of one name are one service, and the last one says how it is; as in Buildbot, but with a warning."""
    by_name = {}
    for item in items:
        if item.name in by_name:
            warnings.append(f"{what} name '{item.name}' used multiple times; the last one counts")
        by_name[item.name] = item
    return list(by_name.values())


def _builder_names(loaded):
    """The literal builder names of each scheduler; `None` where one of them is computed."""
    for scheduler in loaded.schedulers:
        names = scheduler.builderNames
        computed = IRenderable.providedBy(names) or any(IRenderable.providedBy(name) for name in names)
        yield scheduler, None if computed else names


def _check_single_master(loaded):
    if not loaded.workers and "workers" not in loaded.incomplete:
        error("no workers are configured")
    if not loaded.builders and "builders" not in loaded.incomplete:
        error("no builders are configured")
    if "schedulers" in loaded.incomplete:
        return
    undriven = {builder.name for builder in loaded.builders}
    for _scheduler, names in _builder_names(loaded):
        if names is None:
            return
        undriven -= set(names)
    if undriven:
        error(f"builder(s) {', '.join(sorted(map(str, undriven)))} have no schedulers to drive them")


def _check_schedulers(loaded):
    if loaded.settings.multi_master or "builders" in loaded.incomplete:
        return
    known = {builder.name for builder in loaded.builders}
    for scheduler in loaded.schedulers:
        if IRenderable.providedBy(scheduler.builderNames):
            continue
        for name in scheduler.builderNames:
            if not IRenderable.providedBy(name) and name not in known:
                error(f"Unknown builder '{name}' in scheduler '{scheduler.name}'", location=scheduler.location)


def _locks_of(builder):
    from buildbot.locks import accesses_of

    return [] if IRenderable.providedBy(builder.locks) else [a.lockid for a in accesses_of(builder.locks)]


def _check_locks(loaded):
    by_name = {}
    for builder in loaded.builders:
        for lock in _locks_of(builder):
            if by_name.setdefault(lock.name, lock) is not lock:
                error(f"Two locks share the same name, '{lock.name}'", location=lock.location)


def all_locks(loaded):
    """Every lock of builders, steps and workers, once."""
    from buildbot.locks import accesses_of

    holders = [*loaded.builders, *loaded.workers]
    for builder in loaded.builders:
        holders += [step_factory.buildStep() for step_factory in builder.factory.steps]
    by_name = {}
    for holder in holders:
        if not IRenderable.providedBy(holder.locks):
            for access in accesses_of(holder.locks):
                by_name.setdefault(access.lockid.name, access.lockid)
    return list(by_name.values())


def _check_projects(loaded):
    for name, number in Counter(project.name for project in loaded.projects).items():
        if number > 1:
            error(f"duplicate project name '{name}'")


def _check_descriptions(loaded):
    formatted = [item for item in [*loaded.projects, *loaded.builders] if item.description_format]
    if formatted and importlib.util.find_spec("markdown") is None:
        loaded.settings.warnings.append(
            "descriptions in markdown are shown as they are written: this Python has no Markdown ('pip install Markdown')"
        )


def _check_builders(loaded):
    workers = {worker.name for worker in loaded.workers}
    projects = {project.name for project in loaded.projects}
    names, directories = set(), set()
    for builder in loaded.builders:
        unknown = sorted(set(builder.workernames) - workers)
        if unknown and "workers" not in loaded.incomplete:
            shown = ", ".join(repr(name) for name in unknown)
            error(f"builder '{builder.name}' uses unknown workers {shown}", location=builder.location)
        if builder.name in names:
            error(f"duplicate builder name '{builder.name}'", location=builder.location)
        if builder.builddir in directories:
            error(f"duplicate builder builddir '{builder.builddir}'", location=builder.location)
        if builder.project and builder.project not in projects:
            error(f"builder '{builder.name}' uses unknown project name '{builder.project}'", location=builder.location)
        if os.path.isabs(builder.builddir):
            loaded.settings.warnings.append(f"builder '{builder.name}': the builddir should be a relative path")
        names.add(builder.name)
        directories.add(builder.builddir)


def _check_missing_mails(loaded):
    """Says who would get no mail about a missing worker."""
    covered = set()
    for reporter in loaded.reporters:
        reached = []
        for generator in reporter.generators:
            named = None if generator.workers == "all" else set(generator.workers)
            workers = [w for w in loaded.workers if named is None or w.name in named]
            told = [w for w in workers if w.missing_timeout and any(reporter.reaches(to) for to in w.notify_on_missing)]
            covered |= {worker.name for worker in workers}
            reached += told
            silent = sorted((named or set()) - {worker.name for worker in told})
            if silent and told:
                shown = ", ".join(repr(name) for name in silent)
                loaded.settings.warnings.append(
                    f"{reporter.name}: nobody gets a mail when {shown} is missing: set notify_on_missing (and a "
                    "missing_timeout) of the worker"
                )
        if reporter.generators and not reached:
            loaded.settings.warnings.append(
                f"{reporter.name}: nobody gets its mails about missing workers: they go to the worker's "
                "notify_on_missing alone, and no worker that it reports has one (or its missing_timeout is 0)"
            )
        if reporter.extraRecipients and reporter.generators:
            loaded.settings.warnings.append(
                f"{reporter.name}: extraRecipients get no mails about missing workers: these go to the worker's "
                "notify_on_missing alone, as in Buildbot"
            )
    for worker in loaded.workers:
        if worker.notify_on_missing and worker.name not in covered:
            loaded.settings.warnings.append(
                f"worker '{worker.name}': notify_on_missing is set, but no MailNotifier with a WorkerMissingGenerator "
                "reports this worker: nobody gets a mail"
            )
        unreached = [
            to for to in worker.notify_on_missing if "@" not in to and not any(r.reaches(to) for r in loaded.reporters)
        ]
        for to in unreached:
            loaded.settings.warnings.append(
                f"worker '{worker.name}': notify_on_missing '{to}' is no mail address, and no MailNotifier has a "
                "domain for it (lookup=): it gets no mail"
            )


def _check_ports(loaded):
    protocols = loaded.settings.protocols
    given = [[settings["port"], *settings["more_ports"]] for settings in protocols.values()]
    ports = [port for ports in given for port in ports if port is not None]
    if len(set(ports)) < len(ports):
        error("Some of ports in c['protocols'] duplicated")
    if loaded.workers and not (protocols or loaded.settings.protocols_refused):
        error("workers are configured, but c['protocols'] not")
