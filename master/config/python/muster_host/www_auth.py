"""What `c['www']['auth']` and `authz` may hold: our own classes, and which subclasses of them can be served."""

from buildbot.config.errors import error

#: Methods of Buildbot's classes that nothing here calls, wherever they are defined.
_UNASKED = frozenset(
    """
    getLoginResource getLogoutResource maybeAutoLogin updateUserInfo reconfigAuth requestAvatarId getUserInfo verifyCode
    getUserInfoFromOAuthClient getLoginURL createSessionFromToken acceptToken get match getRolesFromUser setAuthz setMaster
    assertUserAllowed getOwnerRolesFromUser getUserAvatar
    """.split()
)


def refuse_subclass(thing, served, where):
    """Reports a user's subclass whose methods nobody would ask. `served` are our classes, with the methods that are asked."""
    name = type(thing).__name__
    for cls in type(thing).__mro__:
        if cls in served:
            return
        known = {inherited for ours in cls.__mro__ if ours in served for inherited in vars(ours)}
        asked = {method for ours in cls.__mro__ for method in served.get(ours, ())}
        methods = [method for method, value in vars(cls).items() if callable(value) or isinstance(value, property)]
        unasked = sorted(set(methods) & (known | _UNASKED) - asked - {"__init__"} | {m for m in methods if m.startswith("match_")})
        if unasked:
            error(f"{where}: {name} overrides {', '.join(unasked)}, which Muster does not call yet")
            return
    error(f"{where}: {name} is not supported by Muster yet")
