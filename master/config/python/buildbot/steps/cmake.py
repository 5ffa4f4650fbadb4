"""CMake."""

from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from buildbot.process.buildstep import BuildStep, ShellMixin


class CMake(ShellMixin, BuildStep):
    """Runs `cmake` with definitions and options."""

    kind = "CMake"
    name = "cmake"
    description = ["running", "cmake"]
    descriptionDone = ["cmake"]
    haltOnFailure = True
    arguments = ("path", "generator", "definitions", "options", "cmake")
    without = ("command",)
    renderables = arguments

    DEFAULT_CMAKE = "cmake"

    def __init__(self, path=None, generator=None, definitions=None, options=None, cmake=DEFAULT_CMAKE, **kwargs):
        self.path, self.generator, self.cmake = path, generator, cmake
        if not (definitions is None or isinstance(definitions, dict) or IRenderable.providedBy(definitions)):
            error("definitions must be a dictionary or implement IRenderable")
        if not (options is None or isinstance(options, (list, tuple)) or IRenderable.providedBy(options)):
            error("options must be a list, a tuple or implement IRenderable")
        self.definitions, self.options = definitions, options
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))
