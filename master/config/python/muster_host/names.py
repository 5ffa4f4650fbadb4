"""What the plugin namespaces offer, and what Buildbot has there beside (`public_names.txt`)."""

#: Namespace -> module -> its names. The steps' own classes say what they are (`muster_host.kinds`).
OFFERED = {
    "util": {
        "buildbot.config.builder": "BuilderConfig",
        "buildbot.process.builder": "enforceChosenWorker",
        "buildbot.process.factory": "BuildFactory GNUAutoconf QuickBuildFactory",
        "buildbot.changes.filter": "ChangeFilter",
        "buildbot.process.properties": """
            FlattenList Interpolate Property Secret Transform URLForBuild WithProperties renderer
        """,
        "buildbot.locks": "MasterLock WorkerLock",
        "buildbot.process.logobserver": "LogLineObserver",
        "buildbot.process.project": "Project",
        "buildbot.steps.shellsequence": "ShellArg",
        "buildbot.process.results": "CANCELLED EXCEPTION FAILURE RETRY Results SKIPPED SUCCESS WARNINGS",
        "buildbot.schedulers.forcesched": """
            AnyPropertyParameter BooleanParameter ChoiceStringParameter CodebaseParameter FileParameter
            FixedParameter IntParameter NestedParameter ParameterGroup PatchParameter StringParameter TextParameter
            UserNameParameter WorkerChoiceParameter
        """,
        "buildbot.www.auth": "CustomAuth HTPasswdAuth RemoteUserAuth UserPasswordAuth",
        "buildbot.www.authz.authz": "Authz fnmatchStrMatcher reStrMatcher",
        "buildbot.www.authz.endpointmatchers": """
            AnyControlEndpointMatcher AnyEndpointMatcher EnableSchedulerEndpointMatcher ForceBuildEndpointMatcher
            RebuildBuildEndpointMatcher StopBuildEndpointMatcher
        """,
        "buildbot.www.authz.roles": """
            RolesFromDomain RolesFromEmails RolesFromGroups RolesFromOwner RolesFromUsername
        """,
        "buildbot.www.avatar": "AvatarGravatar",
        "buildbot.www.oauth2": "BitbucketAuth GitHubAuth GitLabAuth GoogleAuth",
    },
    "steps": {
        "buildbot.process.buildstep": "BuildStep",
    },
    "schedulers": {
        "buildbot.schedulers.basic": "AnyBranchScheduler SingleBranchScheduler",
        "buildbot.schedulers.forcesched": "ForceScheduler",
        "buildbot.schedulers.timed": "Nightly Periodic",
        "buildbot.schedulers.triggerable": "Triggerable",
    },
    "worker": {
        "buildbot.worker.base": "Worker",
    },
    "changes": {
        "buildbot.changes.gitpoller": "GitPoller",
        "buildbot.changes.pb": "PBChangeSource",
    },
    "secrets": {
        "buildbot.secrets.providers.file": "SecretInAFile",
    },
    "reporters": {
        "buildbot.reporters.mail": "MailNotifier",
        "buildbot.reporters.generators.worker": "WorkerMissingGenerator",
    },
    "webhooks": {},
    "statistics": {},
}


def offered(namespace):
    """The names that can be used, and their modules."""
    names = {name: module for module, text in OFFERED.get(namespace, {}).items() for name in text.split()}
    if namespace == "steps":
        from muster_host import kinds

        names.update((name, step.__module__) for name, step in kinds.step_classes().items())
    return names


def refused(namespace):
    """The names that Buildbot has there, and Muster doesn't."""
    from muster_host import not_yet

    return set(not_yet.NAMES.plugins.get(namespace, ())) - set(offered(namespace))
