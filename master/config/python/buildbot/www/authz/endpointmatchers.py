"""What rules are about."""


class EndpointMatcherBase:
    """The base of all."""

    endpoints = None
    builder = None

    def __init__(self, role, defaultDeny=True):
        self.role, self.defaultDeny = role, defaultDeny

    def as_data(self):
        return {
            "endpoints": self.endpoints,
            "builder": self.builder,
            "role": self.role,
            "default_deny": bool(self.defaultDeny),
        }


class AnyEndpointMatcher(EndpointMatcherBase):
    """Everything."""

    endpoints = "any"


class AnyControlEndpointMatcher(EndpointMatcherBase):
    """All that is not only read."""

    endpoints = "any_control"


class _OfBuilder(EndpointMatcherBase):
    def __init__(self, builder=None, **kwargs):
        self.builder = builder
        super().__init__(**kwargs)


class StopBuildEndpointMatcher(_OfBuilder):
    """Stopping builds."""

    endpoints = "stop_build"


class ForceBuildEndpointMatcher(_OfBuilder):
    """Force schedulers."""

    endpoints = "force_build"


class RebuildBuildEndpointMatcher(_OfBuilder):
    """Building again."""

    endpoints = "rebuild_build"


class EnableSchedulerEndpointMatcher(EndpointMatcherBase):
    """Switching schedulers."""

    endpoints = "enable_scheduler"


class ViewBuildsEndpointMatcher(EndpointMatcherBase):
    """Matches nothing, as in Buildbot."""

    endpoints = "nothing"

    def __init__(self, branch=None, project=None, builder=None, **kwargs):
        super().__init__(**kwargs)


class BranchEndpointMatcher(EndpointMatcherBase):
    """Matches nothing, as in Buildbot."""

    endpoints = "nothing"

    def __init__(self, branch, **kwargs):
        super().__init__(**kwargs)


STOCK = {
    cls: ()
    for cls in (
        AnyEndpointMatcher,
        AnyControlEndpointMatcher,
        StopBuildEndpointMatcher,
        ForceBuildEndpointMatcher,
        RebuildBuildEndpointMatcher,
        EnableSchedulerEndpointMatcher,
        ViewBuildsEndpointMatcher,
        BranchEndpointMatcher,
    )
}
