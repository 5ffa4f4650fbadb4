"""What the plugin namespaces offer, and what Buildbot has that Muster does not support yet."""

#: Namespace -> module -> its names.
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
        "buildbot.process.project": "Project",
        "buildbot.steps.shellsequence": "ShellArg",
        "buildbot.process.results": "CANCELLED EXCEPTION FAILURE RETRY Results SKIPPED SUCCESS WARNINGS",
        "buildbot.schedulers.forcesched": """
            AnyPropertyParameter BooleanParameter ChoiceStringParameter CodebaseParameter FileParameter
            FixedParameter IntParameter NestedParameter ParameterGroup PatchParameter StringParameter TextParameter
            UserNameParameter WorkerChoiceParameter
        """,
    },
    "steps": {
        "buildbot.process.buildstep": "BuildStep",
        "buildbot.steps.shell": """
            Compile Configure SetPropertyFromCommand ShellCommand Test TreeSize WarningCountingShellCommand
        """,
        "buildbot.steps.shellsequence": "ShellSequence",
        "buildbot.steps.transfer": """
            DirectoryUpload FileDownload FileUpload JSONPropertiesDownload JSONStringDownload MultipleFileUpload
            StringDownload
        """,
        "buildbot.steps.worker": """
            CopyDirectory FileExists MakeDirectory RemoveDirectory SetPropertiesFromEnv
        """,
        "buildbot.steps.master": "Assert LogRenderable MasterShellCommand SetProperties SetProperty",
        "buildbot.steps.trigger": "Trigger",
        "buildbot.steps.cmake": "CMake",
        "buildbot.steps.source.git": "Git GitCommit GitPush GitTag",
        "buildbot.steps.source.github": "GitHub",
        "buildbot.steps.download_secret_to_worker": "DownloadSecretsToWorker",
        "buildbot.steps.remove_worker_file_secret": "RemoveWorkerFileSecret",
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

#: Namespace -> names of Buildbot 4.3 that are refused with a clear error.
NOT_YET = {
    "util": """
        AnyControlEndpointMatcher AnyEndpointMatcher AuthorizedKeysManhole Authz AvatarGitHub AvatarGravatar
        BasicBuildFactory BasicSVN BitbucketAuth CPAN Codebase CommandlineUserManager Connection CustomAuth DbConfig
        Distutils EnableSchedulerEndpointMatcher FailingBuildsetCanceller ForceBuildEndpointMatcher
        GerritChangeFilter GitCredentialInputRenderer GitCredentialOptions GitHubAuth GitLabAuth GoogleAuth
        HTPasswdAuth InheritBuildParameter JanitorConfigurator KubeCtlProxyConfigLoader KubeHardcodedConfig
        KubeInClusterConfigLoader LdapUserInfo LogLineObserver OldBuildCanceller PasswordManhole
        RebuildBuildEndpointMatcher RemoteUserAuth RevlinkMatch RolesFromDomain RolesFromEmails RolesFromGroups
        RolesFromOwner RolesFromUsername SourceStampFilter StopBuildEndpointMatcher TelnetManhole Trial
        UserPasswordAuth fnmatchStrMatcher reStrMatcher repo.DownloadsFromChangeSource
        repo.DownloadsFromProperties svn.split_file_alwaystrunk svn.split_file_branches
        svn.split_file_projects_branches
    """,
    "steps": """
        BuildEPYDoc BuildbotCiSetupSteps BuildbotTestCiTrigger Bzr CVS Cppcheck DELETE Darcs DebCowbuilder
        DebLintian DebPbuilder GET Gerrit GitDiffInfo GitLab HEAD HLint HTTPStep MaxQ Mercurial Mock MockBuildSRPM
        MockRebuild Monotone MsBuild MsBuild12 MsBuild14 MsBuild141 MsBuild15 MsBuild16 MsBuild17 MsBuild4 OPTIONS
        P4 POST PUT PerlModuleTest PyFlakes PyLint RemovePYCs Repo Robocopy RpmBuild RpmLint SVN Sphinx
        SubunitShellCommand Trial UbuCowbuilder UbuPbuilder VC10 VC11 VC12 VC14 VC141 VC6 VC7 VC8 VC9 VCExpress9
        VS2003 VS2005 VS2008 VS2010 VS2012 VS2013 VS2015 VS2017 VS2019 VS2022
    """,
    "schedulers": """
        Dependent NightlyTriggerable Try_Jobdir Try_Userpass
    """,
    "worker": """
        DockerLatentWorker EC2LatentWorker KubeLatentWorker LibVirtWorker LocalWorker OpenStackLatentWorker
    """,
    "changes": """
        BitbucketPullrequestPoller BzrLaunchpadEmailMaildirSource CVSMaildirSource GerritChangeSource
        GerritEventLogPoller GitHubPullrequestPoller HgPoller MaildirSource P4Source
        SVNCommitEmailMaildirSource SVNPoller
    """,
    "reporters": """
        BitbucketServerCoreAPIStatusPush BitbucketServerPRCommentPush BitbucketServerStatusPush BitbucketStatusPush
        BuildRequestGenerator BuildSetCombinedStatusGenerator BuildSetStatusGenerator BuildStartEndStatusGenerator
        BuildStatusGenerator GerritStatusPush GerritVerifyStatusPush GitHubCommentPush GitHubStatusPush
        GitLabStatusPush HttpStatusPush IRC MessageFormatter MessageFormatterEmpty
        MessageFormatterFunction MessageFormatterFunctionRaw MessageFormatterMissingWorker
        MessageFormatterRenderable PushjetNotifier PushoverNotifier TelegramBot ZulipStatusPush
    """,
    "secrets": """
        HashiCorpVaultKvSecretProvider SecretInPass VaultAuthenticatorApprole VaultAuthenticatorToken
    """,
    "webhooks": """
        base bitbucket bitbucketcloud bitbucketserver github gitlab gitorious poller
    """,
    "statistics": """
        CaptureBuildDuration CaptureBuildDurationAllBuilders CaptureBuildEndTime CaptureBuildEndTimeAllBuilders
        CaptureBuildStartTime CaptureBuildStartTimeAllBuilders CaptureData CaptureDataAllBuilders CaptureProperty
        CapturePropertyAllBuilders InfluxStorageService StatsService
    """,
}

#: Module -> the same names where configurations import them from their own modules.
NOT_YET_IN_MODULES = {
    "buildbot.changes.bitbucket": "BitbucketPullrequestPoller",
    "buildbot.changes.changes": "Change",
    "buildbot.changes.gerritchangesource": "GerritChangeFilter GerritChangeSource GerritEventLogPoller",
    "buildbot.changes.github": "GitHubPullrequestPoller",
    "buildbot.changes.hgpoller": "HgPoller",
    "buildbot.changes.mail": """
        BzrLaunchpadEmailMaildirSource CVSMaildirSource MaildirSource SVNCommitEmailMaildirSource
    """,
    "buildbot.changes.p4poller": "P4Source",
    "buildbot.changes.svnpoller": """
        SVNPoller split_file_alwaystrunk split_file_branches split_file_projects_branches
    """,
    "buildbot.configurators": "ConfiguratorBase",
    "buildbot.configurators.janitor": "JanitorConfigurator",
    "buildbot.data.builds": "BuildsEndpoint",
    "buildbot.data.connector": "DataConnector",
    "buildbot.data.resultspec": "Filter ResultSpec",
    "buildbot.db.base": "CachedMethod DBConnectorComponent",
    "buildbot.db.builds": "BuildModel BuildsConnectorComponent",
    "buildbot.db.dbconfig": "DbConfig",
    "buildbot.interfaces": "IEmailLookup IReportGenerator IStatusReceiver",
    "buildbot.manhole": "AuthorizedKeysManhole PasswordManhole TelnetManhole",
    "buildbot.master": "BuildMaster",
    "buildbot.process.build": "Build",
    "buildbot.process.builder": "Builder",
    "buildbot.process.buildrequest": "BuildRequest",
    "buildbot.process.codebase": "Codebase",
    "buildbot.process.factory": "BasicBuildFactory BasicSVN CPAN Distutils Trial",
    "buildbot.process.log": "StreamLog",
    "buildbot.process.logobserver": "BufferLogObserver LineConsumerLogObserver LogLineObserver LogObserver",
    "buildbot.process.remotecommand": "RemoteCommand RemoteShellCommand",
    "buildbot.process.users.manual": "CommandlineUserManager",
    "buildbot.process.workerforbuilder": "AbstractWorkerForBuilder",
    "buildbot.reporters.base": "ReporterBase",
    "buildbot.reporters.bitbucket": "BitbucketStatusPush",
    "buildbot.reporters.bitbucketserver": """
        BitbucketServerCoreAPIStatusPush BitbucketServerPRCommentPush BitbucketServerStatusPush
    """,
    "buildbot.reporters.generators.build": "BuildStartEndStatusGenerator BuildStatusGenerator",
    "buildbot.reporters.generators.buildrequest": "BuildRequestGenerator",
    "buildbot.reporters.generators.buildset": "BuildSetCombinedStatusGenerator BuildSetStatusGenerator",
    "buildbot.reporters.generators.utils": "BuildStatusGeneratorMixin",
    "buildbot.reporters.gerrit": "GerritStatusPush",
    "buildbot.reporters.gerrit_verify_status": "GerritVerifyStatusPush",
    "buildbot.reporters.github": "GitHubCommentPush GitHubStatusPush",
    "buildbot.reporters.gitlab": "GitLabStatusPush",
    "buildbot.reporters.http": "HttpStatusPush HttpStatusPushBase",
    "buildbot.reporters.irc": "IRC IrcStatusFactory",
    "buildbot.reporters.message": """
        MessageFormatter MessageFormatterBase MessageFormatterEmpty MessageFormatterFunction
        MessageFormatterFunctionRaw MessageFormatterMissingWorker MessageFormatterRenderable
    """,
    "buildbot.reporters.pushjet": "PushjetNotifier",
    "buildbot.reporters.pushover": "PushoverNotifier",
    "buildbot.reporters.telegram": "TelegramBot",
    "buildbot.reporters.utils": "URLForBuild getDetailsForBuild getURLForBuild",
    "buildbot.reporters.zulip": "ZulipStatusPush",
    "buildbot.revlinks": "RevlinkMatch",
    "buildbot.schedulers.canceller": "OldBuildCanceller",
    "buildbot.schedulers.canceller_buildset": "FailingBuildsetCanceller",
    "buildbot.schedulers.dependent": "Dependent",
    "buildbot.schedulers.forcesched": "InheritBuildParameter ValidationErrorCollector",
    "buildbot.schedulers.timed": "NightlyTriggerable",
    "buildbot.schedulers.trysched": "Try_Jobdir Try_Userpass",
    "buildbot.secrets.providers.passwordstore": "SecretInPass",
    "buildbot.secrets.providers.vault_hvac": """
        HashiCorpVaultKvSecretProvider VaultAuthenticatorApprole VaultAuthenticatorToken
    """,
    "buildbot.statistics": """
        CaptureBuildDuration CaptureBuildDurationAllBuilders CaptureBuildEndTime CaptureBuildEndTimeAllBuilders
        CaptureBuildStartTime CaptureBuildStartTimeAllBuilders CaptureData CaptureDataAllBuilders CaptureProperty
        CapturePropertyAllBuilders InfluxStorageService StatsService
    """,
    "buildbot.statistics.capture": """
        Capture CaptureBuildTimes CaptureDataBase CapturePropertyBase
        CaptureBuildDuration CaptureBuildDurationAllBuilders CaptureBuildEndTime CaptureBuildEndTimeAllBuilders
        CaptureBuildStartTime CaptureBuildStartTimeAllBuilders CaptureData CaptureDataAllBuilders CaptureProperty
        CapturePropertyAllBuilders
    """,
    "buildbot.statistics.stats_service": "StatsService",
    "buildbot.statistics.storage_backends.base": "StatsStorageBase",
    "buildbot.statistics.storage_backends.influxdb_client": "InfluxStorageService",
    "buildbot.steps.cppcheck": "Cppcheck",
    "buildbot.steps.gitdiffinfo": "GitDiffInfo",
    "buildbot.steps.http": "DELETE GET HEAD HTTPStep OPTIONS POST PUT",
    "buildbot.steps.maxq": "MaxQ",
    "buildbot.steps.mswin": "Robocopy",
    "buildbot.steps.package.deb.lintian": "DebLintian",
    "buildbot.steps.package.deb.pbuilder": "DebCowbuilder DebPbuilder UbuCowbuilder UbuPbuilder",
    "buildbot.steps.package.rpm.mock": "Mock MockBuildSRPM MockRebuild",
    "buildbot.steps.package.rpm.rpmbuild": "RpmBuild",
    "buildbot.steps.package.rpm.rpmlint": "RpmLint",
    "buildbot.steps.python": "BuildEPYDoc PyFlakes PyLint Sphinx",
    "buildbot.steps.python_twisted": "HLint RemovePYCs Trial",
    "buildbot.steps.shell": "PerlModuleTest",
    "buildbot.steps.source.bzr": "Bzr",
    "buildbot.steps.source.cvs": "CVS",
    "buildbot.steps.source.darcs": "Darcs",
    "buildbot.steps.source.gerrit": "Gerrit",
    "buildbot.steps.source.gitlab": "GitLab",
    "buildbot.steps.source.mercurial": "Mercurial",
    "buildbot.steps.source.mtn": "Monotone",
    "buildbot.steps.source.p4": "P4",
    "buildbot.steps.source.repo": "Repo RepoDownloadsFromChangeSource RepoDownloadsFromProperties",
    "buildbot.steps.source.svn": "SVN",
    "buildbot.steps.subunit": "SubunitShellCommand",
    "buildbot.steps.vstudio": """
        MsBuild12 MsBuild14 MsBuild141 MsBuild16 MsBuild17 MsBuild4 VC10 VC11 VC12 VC14 VC141 VC6 VC7 VC8 VC9
        VCExpress9 VS2019 VS2022
    """,
    "buildbot.steps.worker": "CompositeStepMixin",
    "buildbot.util.deferwaiter": "DeferWaiter",
    "buildbot.util.git_credential": "GitCredentialInputRenderer GitCredentialOptions",
    "buildbot.util.httpclientservice": "HTTPClientService HTTPSession",
    "buildbot.util.kubeclientservice": "KubeCtlProxyConfigLoader KubeHardcodedConfig KubeInClusterConfigLoader",
    "buildbot.util.pullrequest": "PullRequestMixin",
    "buildbot.util.sautils": "Table",
    "buildbot.util.service": """
        AsyncMultiService BuildbotService BuildbotServiceManager ReconfigurableServiceMixin SharedService
    """,
    "buildbot.util.ssfilter": "SourceStampFilter",
    "buildbot.util.ssl": "ClientContextFactory",
    "buildbot.util.twisted": "async_to_deferred",
    "buildbot.worker.docker": "DockerLatentWorker",
    "buildbot.worker.ec2": "EC2LatentWorker PENDING RUNNING TERMINATED",
    "buildbot.worker.kubernetes": "KubeLatentWorker",
    "buildbot.worker.latent": "AbstractLatentWorker",
    "buildbot.worker.libvirt": "Connection LibVirtWorker",
    "buildbot.worker.local": "LocalWorker",
    "buildbot.worker.marathon": "MarathonLatentWorker",
    "buildbot.worker.openstack": "OpenStackLatentWorker",
    "buildbot.worker.protocols.base": "FileWriterImpl",
    "buildbot.www.auth": """
        AuthBase AuthRealm CustomAuth HTPasswdAuth RemoteUserAuth UserInfoProviderBase UserPasswordAuth
    """,
    "buildbot.www.authz": "Authz Forbidden fnmatchStrMatcher reStrMatcher",
    "buildbot.www.authz.authz": "Authz Forbidden fnmatchStrMatcher reStrMatcher",
    "buildbot.www.authz.endpointmatchers": """
        AnyControlEndpointMatcher AnyEndpointMatcher EnableSchedulerEndpointMatcher EndpointMatcherBase
        ForceBuildEndpointMatcher Match RebuildBuildEndpointMatcher StopBuildEndpointMatcher
    """,
    "buildbot.www.authz.roles": """
        RolesFromBase RolesFromDomain RolesFromEmails RolesFromGroups RolesFromOwner RolesFromUsername
    """,
    "buildbot.www.avatar": "AvatarBase AvatarGitHub AvatarGravatar",
    "buildbot.www.hooks.base": "BaseHookHandler",
    "buildbot.www.hooks.bitbucket": "BitBucketHandler",
    "buildbot.www.hooks.bitbucketcloud": "BitbucketCloudEventHandler",
    "buildbot.www.hooks.bitbucketserver": "BitbucketServerEventHandler",
    "buildbot.www.hooks.github": "GitHubEventHandler GitHubHandler",
    "buildbot.www.hooks.gitlab": "GitLabHandler",
    "buildbot.www.hooks.gitorious": "GitoriousHandler",
    "buildbot.www.hooks.poller": "PollingHandler",
    "buildbot.www.ldapuserinfo": "LdapUserInfo",
    "buildbot.www.oauth2": "BitbucketAuth GitHubAuth GitLabAuth GoogleAuth OAuth2Auth",
    "buildbot.www.plugin": "Application",
    "buildbot.www.resource": "Redirect Resource",
    "buildbot.www.rest": "V2RootResource",
    "buildbot.www.service": "WWWService",
}
