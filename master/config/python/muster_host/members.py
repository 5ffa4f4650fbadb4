"""The members of Buildbot 4.3.0's classes that an installation may override, by the class that defines them.

Facts about the installed original, as `vars()` of its classes lists them: the classes of `names.OFFERED`, their bases,
all methods, and the attributes that this package does not read. `overrides.py` refuses the ones that nobody calls.
"""

#: Class -> the classes that it is made of, and the names that it defines.
MEMBERS = {
    "buildbot.changes.base.ChangeSource": (
        "buildbot.util.service.ClusteredBuildbotService",
        "_claimService _getServiceId _unclaimService activate deactivate describe",
    ),
    "buildbot.changes.base.ReconfigurablePollingChangeSource": (
        "buildbot.changes.base.ChangeSource",
        "activate checkConfig deactivate force poll reconfigService",
    ),
    "buildbot.changes.filter.ChangeFilter": (
        "buildbot.util.ComparableMixin",
        "_get_repr_filters filter_change fromSchedulerConstructorArgs",
    ),
    "buildbot.changes.gitpoller.GitPoller": (
        """
        buildbot.changes.base.ReconfigurablePollingChangeSource buildbot.util.state.StateMixin
        buildbot.util.git.GitMixin
        """,
        """
        _checkGitFeatures _dovccmd _get_commit_author _get_commit_comments _get_commit_committer
        _get_commit_files _get_commit_parent_hashes _get_commit_timestamp _get_refs _list_remote_refs
        _process_changes _removeHeads _resolve_head_ref _tracker_ref _trim_prefix activate checkConfig describe
        poll poll_should_exit reconfigService
        """,
    ),
    "buildbot.changes.pb.PBChangeSource": (
        "buildbot.changes.base.ChangeSource",
        """
        _calculatePort _register _unregister activate deactivate describe getPerspective
        reconfigServiceWithBuildbotConfig
        """,
    ),
    "buildbot.config.builder.BuilderConfig": (
        "buildbot.util.config.ConfiguredMixin",
        "getConfigDict",
    ),
    "buildbot.locks.BaseLockId": (
        "buildbot.util.ComparableMixin",
        """
        access claim defaultAccess getLockForWorker isAvailable isOwner owners release stopWaitingUntilAvailable
        updateFromLock updateFromLockId waitUntilMaybeAvailable
        """,
    ),
    "buildbot.locks.LockAccess": (
        "buildbot.util.ComparableMixin",
        "",
    ),
    "buildbot.locks.MasterLock": (
        "buildbot.locks.BaseLockId",
        "lockClass",
    ),
    "buildbot.locks.WorkerLock": (
        "buildbot.locks.BaseLockId",
        "lockClass",
    ),
    "buildbot.process.build.Build": (
        "buildbot.process.properties.PropertiesMixin",
        """
        _setup_locks _start_next_step_impl _tryScheduleBuildsAfterLockUnlock acquireLocks
        addStepsAfterCurrentStep addStepsAfterLastStep allChanges allChangesFromSources allFiles allStepsDone
        blamelist buildFinished buildPreparationFailure changesText controlStopBuild getAllSourceStamps
        getBuilderId getNextStep getProperties getSourceStamp getSummaryStatistic getUrl getWorkerCommandVersion
        getWorkerInfo getWorkerName get_buildid lostRemote releaseLocks setLocks setStepFactories
        setUniqueStepName setWorkerEnvironment setupBuild setupBuildProperties setupBuildSteps
        setupWorkerForBuilder setupWorkerProperties setup_properties_known_before_build_starts startBuild
        startNextStep stepDone stopBuild waitUntilFinished
        """,
    ),
    "buildbot.process.buildstep.BuildStep": (
        """
        buildbot.process.results.ResultComputingConfigMixin buildbot.process.properties.PropertiesMixin
        buildbot.util.ComparableMixin
        """,
        """
        _cleanup_logs _connectPendingLogObservers _interrupt_impl _maybe_interrupt_cmd _newLog
        _render_renderables _setup_locks _update_summary_impl acquireLocks addCompleteLog addHTMLLog addLog
        addLogObserver addLogWithException addLogWithFailure addStep addTestResult addTestResultSet
        addTestResultSets addURL checkWorkerHasCommand getBuildResultSummary getCurrentSummary getLog
        getProperties getResultSummary getStatistic getStatistics getWorkerName get_step_factory hasStatistic
        interrupt is_exact_step_class releaseLocks run runCommand setBuild setBuildData setDefaultWorkdir
        setProgress setStatistic setWorker set_step_arg setupProgress startStep updateSummary workerVersion
        workerVersionIsOlderThan
        """,
    ),
    "buildbot.process.buildstep.ShellMixin": (
        "",
        "getResultSummary makeRemoteShellCommand setupShellMixin",
    ),
    "buildbot.process.factory.BasicBuildFactory": (
        "buildbot.process.factory.GNUAutoconf",
        "",
    ),
    "buildbot.process.factory.BuildFactory": (
        "buildbot.util.ComparableMixin",
        "addStep addSteps buildClass newBuild setSkipBuildIf withSecrets",
    ),
    "buildbot.process.factory.GNUAutoconf": (
        "buildbot.process.factory.BuildFactory",
        "",
    ),
    "buildbot.process.factory.QuickBuildFactory": (
        "buildbot.process.factory.BasicBuildFactory",
        "",
    ),
    "buildbot.process.project.Project": (
        "buildbot.util.ComparableMixin",
        "",
    ),
    "buildbot.process.properties.FlattenList": (
        "buildbot.process.properties.RenderableOperatorsMixin buildbot.util.ComparableMixin",
        "getRenderingFor",
    ),
    "buildbot.process.properties.Interpolate": (
        "buildbot.process.properties.RenderableOperatorsMixin buildbot.util.ComparableMixin",
        """
        _parse _parseColon_minus _parseColon_plus _parseColon_ternary _parseColon_ternary_hash _parseColon_tilde
        _parseSubstitution _parse_substitution_kw _parse_substitution_prop _parse_substitution_secret
        _parse_substitution_src _parse_substitution_worker _splitBalancedParen getRenderingFor identifier_re
        """,
    ),
    "buildbot.process.properties.Properties": (
        "buildbot.util.ComparableMixin",
        """
        asDict asList cleanupTextFromSecrets fromDict getBuild getProperties getProperty getPropertySource
        getSourceStamp hasProperty has_key render setProperty update updateFromProperties
        updateFromPropertiesNoRuntime useSecret
        """,
    ),
    "buildbot.process.properties.PropertiesMixin": (
        "",
        "getProperty hasProperty has_key render setProperty",
    ),
    "buildbot.process.properties.Property": (
        "buildbot.process.properties.RenderableOperatorsMixin buildbot.util.ComparableMixin",
        "getRenderingFor",
    ),
    "buildbot.process.properties.RenderableOperatorsMixin": (
        "",
        "getRenderingFor in_",
    ),
    "buildbot.process.properties.Secret": (
        "buildbot.process.properties._SecretRenderer",
        "",
    ),
    "buildbot.process.properties.Transform": (
        "",
        "getRenderingFor",
    ),
    "buildbot.process.properties.WithProperties": (
        "buildbot.util.ComparableMixin",
        "getRenderingFor",
    ),
    "buildbot.process.properties._SecretRenderer": (
        "",
        "getRenderingFor",
    ),
    "buildbot.process.results.ResultComputingConfigMixin": (
        "",
        "resultConfig",
    ),
    "buildbot.reporters.base.ReporterBase": (
        "buildbot.util.service.BuildbotService",
        """
        _does_generator_want_key _get_chain_key_for_event _got_event checkConfig getResponsibleUsersForBuild
        reconfigService sendMessage stopService
        """,
    ),
    "buildbot.reporters.generators.worker.WorkerMissingGenerator": (
        "buildbot.util.ComparableMixin",
        "_is_message_needed check generate generate_name wanted_event_keys",
    ),
    "buildbot.reporters.mail.MailNotifier": (
        "buildbot.reporters.base.ReporterBase",
        """
        _create_default_generators checkConfig createEmail findInterrestedUsersEmails formatAddress
        patch_to_attachment processRecipients reconfigService sendMail sendMessage
        """,
    ),
    "buildbot.schedulers.base.BaseScheduler": (
        "buildbot.schedulers.base.ReconfigurableBaseScheduler",
        "",
    ),
    "buildbot.schedulers.base.ReconfigurableBaseScheduler": (
        "buildbot.util.service.ClusteredBuildbotService buildbot.util.state.StateMixin",
        """
        _changeCallback _claimService _enabledCallback _getScheduler _getServiceId _stopConsumingChanges
        _unclaimService activate addBuildsetForChanges addBuildsetForSourceStamps
        addBuildsetForSourceStampsWithDefaults checkConfig deactivate getCodebaseDict gotChange listBuilderNames
        reconfigService startConsumingChanges startConsumingEnableEvents
        """,
    ),
    "buildbot.schedulers.basic.AnyBranchScheduler": (
        "buildbot.schedulers.basic.BaseBasicScheduler",
        "getChangeClassificationsForTimer getChangeFilter getTimerNameForChange",
    ),
    "buildbot.schedulers.basic.BaseBasicScheduler": (
        "buildbot.schedulers.base.ReconfigurableBaseScheduler",
        """
        activate checkConfig deactivate getChangeClassificationsForTimer getChangeFilter getTimerNameForChange
        gotChange reconfigService scanExistingClassifiedChanges stableTimerFired
        """,
    ),
    "buildbot.schedulers.basic.SingleBranchScheduler": (
        "buildbot.util.codebase.AbsoluteSourceStampsMixin buildbot.schedulers.basic.BaseBasicScheduler",
        """
        checkConfig getChangeClassificationsForTimer getChangeFilter getCodebaseDict getTimerNameForChange
        gotChange reconfigService
        """,
    ),
    "buildbot.schedulers.forcesched.AnyPropertyParameter": (
        "buildbot.schedulers.forcesched.NestedParameter",
        "getFromKwargs updateFromKwargs",
    ),
    "buildbot.schedulers.forcesched.BaseParameter": (
        "",
        "getFromKwargs getSpec parse_from_arg parse_from_args setParent updateFromKwargs",
    ),
    "buildbot.schedulers.forcesched.BooleanParameter": (
        "buildbot.schedulers.forcesched.BaseParameter",
        "getFromKwargs",
    ),
    "buildbot.schedulers.forcesched.ChoiceStringParameter": (
        "buildbot.schedulers.forcesched.BaseParameter",
        "getChoices parse_from_arg",
    ),
    "buildbot.schedulers.forcesched.CodebaseParameter": (
        "buildbot.schedulers.forcesched.NestedParameter",
        "createSourcestamp updateFromKwargs",
    ),
    "buildbot.schedulers.forcesched.FileParameter": (
        "buildbot.schedulers.forcesched.BaseParameter",
        "",
    ),
    "buildbot.schedulers.forcesched.FixedParameter": (
        "buildbot.schedulers.forcesched.BaseParameter",
        "parse_from_args",
    ),
    "buildbot.schedulers.forcesched.ForceScheduler": (
        "buildbot.schedulers.base.ReconfigurableBaseScheduler",
        """
        checkConfig checkIfListOfType checkIfType computeBuilderNames force gatherPropertiesAndChanges
        reconfigService
        """,
    ),
    "buildbot.schedulers.forcesched.IntParameter": (
        "buildbot.schedulers.forcesched.StringParameter",
        "",
    ),
    "buildbot.schedulers.forcesched.NestedParameter": (
        "buildbot.schedulers.forcesched.BaseParameter",
        "collectChildProperties getSpec setParent updateFromKwargs",
    ),
    "buildbot.schedulers.forcesched.PatchParameter": (
        "buildbot.schedulers.forcesched.NestedParameter",
        "",
    ),
    "buildbot.schedulers.forcesched.StringParameter": (
        "buildbot.schedulers.forcesched.BaseParameter",
        "parse_from_arg",
    ),
    "buildbot.schedulers.forcesched.TextParameter": (
        "buildbot.schedulers.forcesched.StringParameter",
        "value_to_text",
    ),
    "buildbot.schedulers.forcesched.UserNameParameter": (
        "buildbot.schedulers.forcesched.StringParameter",
        "parse_from_arg",
    ),
    "buildbot.schedulers.forcesched.WorkerChoiceParameter": (
        "buildbot.schedulers.forcesched.ChoiceStringParameter",
        "getChoices updateFromKwargs",
    ),
    "buildbot.schedulers.timed.Nightly": (
        "buildbot.schedulers.timed.NightlyBase",
        "checkConfig reconfigService",
    ),
    "buildbot.schedulers.timed.NightlyBase": (
        "buildbot.schedulers.timed.Timed",
        """
        _timeToCron _time_to_croniter_tz_time _times_to_cron_line checkConfig getNextBuildTime
        maybe_force_build_on_unimportant_changes reconfigService
        """,
    ),
    "buildbot.schedulers.timed.Periodic": (
        "buildbot.schedulers.timed.Timed",
        "checkConfig getNextBuildTime reconfigService",
    ),
    "buildbot.schedulers.timed.Timed": (
        "buildbot.util.codebase.AbsoluteSourceStampsMixin buildbot.schedulers.base.ReconfigurableBaseScheduler",
        """
        _actuate _scheduleNextBuild_locked activate checkConfig current_utc_offset deactivate getCodebaseDict
        getNextBuildTime gotChange maybe_force_build_on_unimportant_changes now reconfigService
        scheduleNextBuild startBuild
        """,
    ),
    "buildbot.schedulers.triggerable.Triggerable": (
        "buildbot.schedulers.base.ReconfigurableBaseScheduler",
        "_buildset_complete_cb checkConfig reconfigService startService stopService trigger",
    ),
    "buildbot.secrets.providers.base.SecretProviderBase": (
        "buildbot.util.service.BuildbotService",
        "get",
    ),
    "buildbot.secrets.providers.file.SecretInAFile": (
        "buildbot.secrets.providers.base.SecretProviderBase",
        """
        checkConfig checkFileIsReadOnly checkSecretDirectoryIsAvailableAndReadable get loadSecrets
        reconfigService
        """,
    ),
    "buildbot.steps.cmake.CMake": (
        "buildbot.process.buildstep.ShellMixin buildbot.process.buildstep.BuildStep",
        "DEFAULT_CMAKE run",
    ),
    "buildbot.steps.download_secret_to_worker.DownloadSecretsToWorker": (
        "buildbot.process.buildstep.BuildStep buildbot.steps.worker.CompositeStepMixin",
        "run runPopulateSecrets",
    ),
    "buildbot.steps.download_secret_to_worker.RemoveWorkerFileSecret": (
        "buildbot.process.buildstep.BuildStep buildbot.steps.worker.CompositeStepMixin",
        "run runRemoveWorkerFileSecret",
    ),
    "buildbot.steps.master.Assert": (
        "buildbot.process.buildstep.BuildStep",
        "run",
    ),
    "buildbot.steps.master.LogRenderable": (
        "buildbot.process.buildstep.BuildStep",
        "run",
    ),
    "buildbot.steps.master.MasterShellCommand": (
        "buildbot.process.buildstep.BuildStep",
        "interrupt run",
    ),
    "buildbot.steps.master.SetProperties": (
        "buildbot.process.buildstep.BuildStep",
        "run",
    ),
    "buildbot.steps.master.SetProperty": (
        "buildbot.process.buildstep.BuildStep",
        "run",
    ),
    "buildbot.steps.shell.Compile": (
        "buildbot.steps.shell.WarningCountingShellCommand",
        "",
    ),
    "buildbot.steps.shell.Configure": (
        "buildbot.steps.shell.ShellCommand",
        "",
    ),
    "buildbot.steps.shell.PerlModuleTest": (
        "buildbot.steps.shell.Test",
        "evaluateCommand total",
    ),
    "buildbot.steps.shell.SetPropertyFromCommand": (
        "buildbot.process.buildstep.ShellMixin buildbot.process.buildstep.BuildStep",
        "run",
    ),
    "buildbot.steps.shell.ShellCommand": (
        "buildbot.process.buildstep.ShellMixin buildbot.process.buildstep.BuildStep",
        "run",
    ),
    "buildbot.steps.shell.Test": (
        "buildbot.steps.shell.WarningCountingShellCommand",
        "getResultSummary setTestResults",
    ),
    "buildbot.steps.shell.TreeSize": (
        "buildbot.process.buildstep.ShellMixin buildbot.process.buildstep.BuildStep",
        "run",
    ),
    "buildbot.steps.shell.WarningCountingShellCommand": (
        """
        buildbot.process.buildstep.ShellMixin buildbot.steps.worker.CompositeStepMixin
        buildbot.process.buildstep.BuildStep
        """,
        """
        addSuppression commentEmptyLineRe createSummary evaluateCommand finish_logs maybeAddWarning run
        setup_suppression suppressionLineRe warnExtractFromRegexpGroups warnExtractWholeLine warningLogConsumer
        """,
    ),
    "buildbot.steps.shellsequence.ShellArg": (
        "buildbot.process.results.ResultComputingConfigMixin",
        "getRenderingFor publicAttributes validateAttributes",
    ),
    "buildbot.steps.shellsequence.ShellSequence": (
        "buildbot.process.buildstep.ShellMixin buildbot.process.buildstep.BuildStep",
        "getFinalState run runShellSequence shouldRunTheCommand",
    ),
    "buildbot.steps.source.base.Source": (
        "buildbot.process.buildstep.BuildStep buildbot.steps.worker.CompositeStepMixin",
        """
        _getAttrGroupMember _hasAttrGroupMember _listAttrGroupMembers applyPatch computeSourceRevision patch run
        sourcedirIsPatched updateSourceProperty
        """,
    ),
    "buildbot.steps.source.git.Git": (
        "buildbot.steps.source.base.Source buildbot.util.git.GitStepMixin",
        """
        _cleanSubmodule _clone _doClobber _fetch _fetchOrFallback _fullClone _fullCloneOrFallback _getMethod
        _get_auth_data_workdir _sourcedirIsUpdatable _syncSubmodule _updateSubmodule applyPatch clean clobber
        computeSourceRevision copy fresh mode_full mode_incremental parseCommitDescription parseGotRevision
        run_vc
        """,
    ),
    "buildbot.steps.source.git.GitCommit": (
        """
        buildbot.process.buildstep.BuildStep buildbot.util.git.GitStepMixin buildbot.steps.worker.CompositeStepMixin
        """,
        "_checkDetachedHead _checkHasSomethingToCommit _doAdd _doCommit run",
    ),
    "buildbot.steps.source.git.GitPush": (
        """
        buildbot.process.buildstep.BuildStep buildbot.util.git.GitStepMixin buildbot.steps.worker.CompositeStepMixin
        """,
        "_doPush _get_auth_data_workdir run",
    ),
    "buildbot.steps.source.git.GitTag": (
        """
        buildbot.process.buildstep.BuildStep buildbot.util.git.GitStepMixin buildbot.steps.worker.CompositeStepMixin
        """,
        "_doTag run",
    ),
    "buildbot.steps.source.github.GitHub": (
        "buildbot.steps.source.git.Git",
        "run_vc",
    ),
    "buildbot.steps.transfer.DirectoryUpload": (
        "buildbot.steps.transfer._TransferBuildStep",
        "run",
    ),
    "buildbot.steps.transfer.FileDownload": (
        "buildbot.steps.transfer._TransferBuildStep",
        "run",
    ),
    "buildbot.steps.transfer.FileUpload": (
        "buildbot.steps.transfer._TransferBuildStep",
        "run",
    ),
    "buildbot.steps.transfer.JSONPropertiesDownload": (
        "buildbot.steps.transfer.StringDownload",
        "run",
    ),
    "buildbot.steps.transfer.JSONStringDownload": (
        "buildbot.steps.transfer.StringDownload",
        "run",
    ),
    "buildbot.steps.transfer.MultipleFileUpload": (
        "buildbot.steps.transfer._TransferBuildStep buildbot.steps.worker.CompositeStepMixin",
        "allUploadsDone run startUpload uploadDirectory uploadDone uploadFile",
    ),
    "buildbot.steps.transfer.StringDownload": (
        "buildbot.steps.transfer._TransferBuildStep",
        "run",
    ),
    "buildbot.steps.transfer._TransferBuildStep": (
        "buildbot.process.buildstep.BuildStep",
        "interrupt runTransferCommand",
    ),
    "buildbot.steps.trigger.Trigger": (
        "buildbot.process.buildstep.BuildStep",
        """
        _add_results addBuildUrls createTriggerProperties getAllGotRevisions getCurrentSummary getResultSummary
        getSchedulerByName getSchedulersAndProperties interrupt prepareSourcestampListForTrigger run worstStatus
        """,
    ),
    "buildbot.steps.worker.CompositeStepMixin": (
        "",
        """
        addLogForRemoteCommands downloadFileContentToWorker getFileContentFromWorker pathExists runGlob runMkdir
        runRemoteCommand runRmFile runRmdir workerPathToMasterPath
        """,
    ),
    "buildbot.steps.worker.CopyDirectory": (
        "buildbot.steps.worker.WorkerBuildStep",
        "run",
    ),
    "buildbot.steps.worker.FileExists": (
        "buildbot.steps.worker.WorkerBuildStep",
        "run",
    ),
    "buildbot.steps.worker.MakeDirectory": (
        "buildbot.steps.worker.WorkerBuildStep",
        "run",
    ),
    "buildbot.steps.worker.RemoveDirectory": (
        "buildbot.steps.worker.WorkerBuildStep",
        "run",
    ),
    "buildbot.steps.worker.SetPropertiesFromEnv": (
        "buildbot.steps.worker.WorkerBuildStep",
        "run",
    ),
    "buildbot.steps.worker.WorkerBuildStep": (
        "buildbot.process.buildstep.BuildStep",
        "",
    ),
    "buildbot.util.ComparableMixin": (
        "",
        "_cmp_common getConfigDict isEquivalent",
    ),
    "buildbot.util.codebase.AbsoluteSourceStampsMixin": (
        "",
        "getCodebaseDict recordChange",
    ),
    "buildbot.util.config.ConfiguredMixin": (
        "",
        "getConfigDict",
    ),
    "buildbot.util.git.GitMixin": (
        "",
        "adjustCommandParamsForSshPrivateKey parseGitFeatures setupGit",
    ),
    "buildbot.util.git.GitStepMixin": (
        "buildbot.util.git.GitMixin",
        "_dovccmd _get_auth_data_workdir checkFeatureSupport setupGitStep setup_git_auth setup_repourl",
    ),
    "buildbot.util.service.AsyncMultiService": (
        "buildbot.util.service.AsyncService",
        "addService startService stopService",
    ),
    "buildbot.util.service.AsyncService": (
        "",
        "disownServiceParent setServiceParent",
    ),
    "buildbot.util.service.BuildbotService": (
        """
        buildbot.util.service.AsyncMultiService buildbot.util.config.ConfiguredMixin buildbot.util.ComparableMixin
        buildbot.util.service.ReconfigurableServiceMixin
        """,
        """
        canReconfigWithSibling checkConfig configureService getConfigDict reconfigService
        reconfigServiceWithSibling renderSecrets startService
        """,
    ),
    "buildbot.util.service.ClusteredBuildbotService": (
        "buildbot.util.service.BuildbotService",
        """
        POLL_INTERVAL_SEC _activityPoll _callbackStartServiceDeferred _claimService _getServiceId
        _startActivityPolling _stopActivityPolling _unclaimService activate deactivate isActive startService
        stopService
        """,
    ),
    "buildbot.util.service.ReconfigurableServiceMixin": (
        "",
        "reconfigServiceWithBuildbotConfig reconfig_priority",
    ),
    "buildbot.util.state.StateMixin": (
        "",
        "getState setState",
    ),
    "buildbot.worker.base.AbstractWorker": (
        "buildbot.util.service.BuildbotService",
        """
        DEFAULT_KEEPALIVE_INTERVAL DEFAULT_MISSING_TIMEOUT _applyWorkerInfo _disconnect _getWorkerInfo
        _handle_conn_shutdown_notifier _lockReleased _missing_timer_fired _update_graceful _update_paused
        _waitForCompleteShutdownImpl acquireLocks addWorkerForBuilder attachBuilder attached buildFinished
        buildStarted builds_may_be_incompatible canStartBuild checkConfig controlWorker detached disconnect
        exitQuarantine isCompatibleWithBuild isConnected isPaused locksAvailable maybeShutdown
        messageReceivedFromWorker pause putInQuarantine quarantine_initial_timeout quarantine_max_timeout
        quarantine_timeout reconfigService reconfigServiceWithSibling releaseLocks removeWorkerForBuilder
        resetQuarantine sendBuilderList setServiceParent setupProperties shutdown shutdownRequested
        startMissingTimer startService start_missing_on_startup stopMissingTimer stopQuarantineTimer stopService
        unpause updateLocks updateWorker waitForCompleteShutdown
        """,
    ),
    "buildbot.worker.base.Worker": (
        "buildbot.worker.base.AbstractWorker",
        "attached buildFinished detached",
    ),
}
