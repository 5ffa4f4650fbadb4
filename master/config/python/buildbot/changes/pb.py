"""Takes changes that `buildbot sendchange` sends to a port."""

from buildbot import util
from buildbot.changes.base import ChangeSource
from buildbot.config.errors import error

__all__ = ["PBChangeSource"]


class PBChangeSource(ChangeSource):
    """Takes changes that `buildbot sendchange` sends to a port."""

    kind = "pb"
    class_name = "buildbot.changes.pb.PBChangeSource"
    compare_attrs = ("user", "passwd", "port", "prefix")

    def __init__(self, user="change", passwd="changepw", port=None, prefix=None, name=None):
        if name is None:
            name = f"PBChangeSource:{prefix}:{port}" if prefix else f"PBChangeSource:{port}"
        super().__init__(name)
        if isinstance(port, bool) or not (port is None or isinstance(port, (int, str))):
            error(f"PBChangeSource: port must be a number or a string: {port!r}")
            port = None
        self.user, self.passwd = util.bytes2unicode(user), passwd
        self.port, self.prefix = None if port is None else str(port), util.bytes2unicode(prefix)

    def describe(self):
        """For people."""
        where = "all-purpose workerport" if self.port is None else f"port {self.port}"
        below = f" (prefix '{self.prefix}')" if self.prefix is not None else ""
        return f"PBChangeSource listener on {where}{below}"

    def own_data(self, encode):
        return {
            "user": self.user,
            "password": encode.at("passwd")(self.passwd),
            "port": self.port,
            "prefix": self.prefix,
        }
