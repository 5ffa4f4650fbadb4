"""Git from GitHub: knows how its pull and merge requests name branches."""

from buildbot.steps.source.git import Git


class GitHub(Git):
    """Checks out a revision, also of a pull or merge request."""

    kind = "GitHub"
