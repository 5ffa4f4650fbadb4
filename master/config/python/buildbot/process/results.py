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
