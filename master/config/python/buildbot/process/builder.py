"""What a builder is configured with beside its steps."""

__all__ = ["enforceChosenWorker"]


def enforceChosenWorker(builder, wfb, request):
    """A ready-made ``canStartBuild``: a request that names its worker (property ``workername``) waits for that one."""
    chosen = request.properties.getProperty("workername")
    return not isinstance(chosen, str) or wfb.worker.workername == chosen
