"""What an exception of a step leaves in its logs."""

import html
import traceback

#: Most characters of a traceback; the end is kept.
MAX_TEXT = 64 << 10


def texts_of(why):
    """The text and the page of an exception, or of a Failure of Twisted."""
    if hasattr(why, "getTraceback"):
        text = why.getTraceback()
    else:
        text = text_of(why)
    return text, f"<pre>{html.escape(text)}</pre>"


def text_of(failed):
    """The traceback of an exception, from the first line of the configuration's own code."""
    try:
        trace = failed.__traceback__
        while trace is not None and trace.tb_next is not None and _is_machinery(trace):
            trace = trace.tb_next
        return "".join(traceback.format_exception(type(failed), failed, trace))[-MAX_TEXT:]
    except Exception as worse:
        return f"{type(failed).__name__}; its traceback can't be made: {type(worse).__name__}\n"


def _is_machinery(trace):
    from muster_host.location import is_ours

    return is_ours(trace.tb_frame.f_code.co_filename)
