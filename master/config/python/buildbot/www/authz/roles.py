"""Roles of people."""

from buildbot.config.errors import error


def _texts(values):
    return isinstance(values, (list, tuple, set, frozenset)) and all(isinstance(value, str) for value in values)


def _listed(where, by_role):
    """Mail address or domain -> its roles."""
    roles = {}
    for role, names in by_role.items():
        if not _texts(names):
            error(f"{where}: {role} must be a list of strings, not {names!r}")
            continue
        for name in names:
            roles.setdefault(name, []).append(role)
    return roles


class RolesFromBase:
    """The base of all."""


class RolesFromGroups(RolesFromBase):
    """Groups of a log-in."""

    def __init__(self, groupPrefix=""):
        self.groupPrefix = groupPrefix

    def as_data(self):
        return {"from": "groups", "prefix": self.groupPrefix}


class RolesFromEmails(RolesFromBase):
    """Mail addresses that have roles."""

    def __init__(self, **kwargs):
        self.roles = _listed(type(self).__name__, kwargs)

    def as_data(self):
        return {"from": "emails", "roles": self.roles}


class RolesFromDomain(RolesFromBase):
    """Domains of mail addresses that have roles."""

    def __init__(self, **kwargs):
        self.domain_roles = _listed(type(self).__name__, kwargs)

    def as_data(self):
        return {"from": "domains", "roles": self.domain_roles}


class RolesFromOwner(RolesFromBase):
    """A role for whoever owns the build."""

    def __init__(self, role):
        self.role = role

    def as_data(self):
        return {"from": "owner", "role": self.role}


class RolesFromUsername(RolesFromBase):
    """Users who have roles."""

    def __init__(self, roles, usernames):
        self.roles, self.usernames = roles, usernames
        if None in usernames:
            error("Usernames cannot be None")
        elif not _texts(roles) or not _texts(usernames):
            error("RolesFromUsername: roles and usernames must be lists of strings")

    def as_data(self):
        return {"from": "usernames", "roles": list(self.roles), "usernames": list(self.usernames)}


STOCK = {cls: () for cls in (RolesFromGroups, RolesFromEmails, RolesFromDomain, RolesFromOwner, RolesFromUsername)}
