"""Entry point of the host: `python3 <this directory>`, started by the master with its two pipes as stdin and stdout."""

# Old interpreters must get as far as the check below, so nothing here may use newer syntax.
import os
import sys

OLDEST = (3, 9)


def main():
    die_with_master()
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # What the configuration prints goes to stderr, which the master forwards to its log: the pipes stay clean.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.version_info < OLDEST:
        version = ".".join([str(part) for part in sys.version_info[:3]])
        answers.write(('{"hello": {"protocol": 1, "python": "%s"}}\n' % version).encode("ascii"))
        answers.flush()
        return 1
    from muster_host.server import serve

    status = serve(requests, answers)
    remove_package()
    return status


def die_with_master():
    """Asks the kernel to kill this process when the master is gone, whatever either of them is doing then.

    Where it can't (no Linux, no ctypes), the end of the pipe from the master has to do.
    """
    try:
        import ctypes
        import signal

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


def remove_package():
    """The master is gone without its last act, as when it was killed: nobody else removes what it has written out."""
    import shutil

    package = os.path.dirname(os.path.abspath(__file__))
    if os.path.basename(package).startswith("muster-host-"):
        shutil.rmtree(package, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
