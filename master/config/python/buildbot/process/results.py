"""Result codes."""

ALL_RESULTS = list(range(7))
SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED = ALL_RESULTS
Results = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]
MultipleResults = ["successes", "warnings", "failures", "skipped", "exceptions", "retries", "cancelled"]

_WORST_FIRST = (CANCELLED, RETRY, EXCEPTION, FAILURE, WARNINGS, SUCCESS, SKIPPED)


def worst_status(a, b):
    """The worse of two results."""
    return next((result for result in _WORST_FIRST if result in (a, b)), None)


def statusToString(status, count=1):
    """The name of a result."""
    if status is None:
        return "not finished"
    if status not in ALL_RESULTS:
        return "Invalid status"
    return (MultipleResults if count > 1 else Results)[status]


def computeResultAndTermination(obj, result, previousResult):
    """The result so far with the one of a part that has these flags, and whether that part was the last one."""
    counted = result
    if result == FAILURE:
        counted = FAILURE if obj.flunkOnFailure else WARNINGS if obj.warnOnFailure else SUCCESS
    elif result == WARNINGS:
        counted = FAILURE if obj.flunkOnWarnings else WARNINGS if obj.warnOnWarnings else SUCCESS
    is_last = result in (EXCEPTION, RETRY, CANCELLED) or (result == FAILURE and obj.haltOnFailure)
    return worst_status(previousResult, counted), is_last
