"""What a configuration logs goes where its prints go."""

import logging
import sys


def install():
    """What Python's `logging` gets from INFO on is shown, unless the configuration says otherwise."""
    root = logging.getLogger()
    if root.level == logging.WARNING and not root.handlers:
        root.setLevel(logging.INFO)
        logging.lastResort.setLevel(logging.INFO)
        logging.lastResort.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))


class _Stderr:
    """Standard error as it is when something is written: a configuration may replace it."""

    def write(self, text):
        sys.stderr.write(text)

    def flush(self):
        sys.stderr.flush()


def flush():
    """What Twisted's log has kept so far, and from now on what it gets; nothing without Twisted."""
    logger = sys.modules.get("twisted.logger")
    if logger is not None and not getattr(flush, "began", False):
        flush.began = True
        observer = logger.textFileLogObserver(_Stderr(), timeFormat=None)
        logger.globalLogBeginner.beginLoggingTo([observer], discardBuffer=False, redirectStandardIO=False)
