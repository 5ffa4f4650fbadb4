"""Who may log in."""


class NoAuth:
    """Nobody logs in."""
