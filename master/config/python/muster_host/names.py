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
        "buildbot.steps.download_secret_to_worker": "DownloadSecretsToWorker RemoveWorkerFileSecret",
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
