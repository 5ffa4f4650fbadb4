"""Pictures of people."""


class AvatarBase:
    """The base of all sources of pictures."""

    name = "noavatar"


class AvatarGravatar(AvatarBase):
    """Gravatar, by the mail address."""

    name = "gravatar"
