"""What all providers of secrets have."""


class SecretProviderBase:
    """Knows secrets by their names."""

    name = None
    overridable = ("checkConfig", "get", "reconfigService")

    def __init__(self, *args, **kwargs):
        self.checkConfig(*args, **kwargs)
        self.reconfigService(*args, **kwargs)

    def checkConfig(self, *args, **kwargs):
        pass

    def reconfigService(self, *args, **kwargs):
        pass

    def get(self, entry):
        """The secret of that name, or `None`."""
        raise NotImplementedError
