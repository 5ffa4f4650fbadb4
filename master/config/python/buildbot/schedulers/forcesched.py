"""Force forms: builds that people start, and what they are asked."""

import inspect

from buildbot import util
from buildbot.config.errors import error, warn
from buildbot.schedulers.base import BaseScheduler
from buildbot.util.identifiers import ident_re
from muster_host.encode import pattern_text

__all__ = [
    "AnyPropertyParameter", "BaseParameter", "BooleanParameter", "ChoiceStringParameter", "CodebaseParameter",
    "FileParameter", "FixedParameter", "ForceScheduler", "IntParameter", "NestedParameter", "ParameterGroup",
    "PatchParameter", "StringParameter", "TextParameter", "UserNameParameter", "ValidationError",
    "WorkerChoiceParameter", "oneCodebase",
]  # fmt: skip

_RESERVED = ("owner", "builderNames", "builderid")
#: What every field's description has, beside what its class adds.
_SPEC = (
    "name", "fullName", "label", "tablabel", "type", "default", "required", "multiple", "regex", "hide", "maxsize",
    "autopopulate", "tooltip",
)  # fmt: skip


class ValidationError(ValueError):
    """What was entered into a form is wrong."""


class BaseParameter:
    """One field."""

    #: The field's kind for the master.
    kind = "text"
    spec_attributes = ()
    overridable = ("setParent",)

    name = ""
    parentName = None
    label = ""
    tablabel = ""
    type = ""
    default = ""
    required = False
    multiple = False
    regex = None
    debug = False
    hide = False
    maxsize = None
    autopopulate = None
    tooltip = ""

    def __init__(self, name, label=None, tablabel=None, regex=None, **kw):
        if name in _RESERVED:
            error(f"{name} cannot be used as a parameter name, because it is reserved")
        self.name = name
        self.label = name if label is None else label
        self.tablabel = self.label if tablabel is None else tablabel
        self.regex = regex
        for key, value in kw.items():
            if not hasattr(type(self), key):
                # Buildbot keeps every argument as an attribute, and configurations rely on it.
                warn(f"{type(self).__name__} '{name}': the argument {key} has no effect")
            setattr(self, key, value)
        self._check_computed()

    def _check_computed(self):
        """A property of the user's class gives its value now; a function gives none."""
        for attribute in ("default", "choices"):
            if isinstance(inspect.getattr_static(type(self), attribute, None), property):
                warn(
                    f"{type(self).__name__} '{self.name}': {attribute} is computed when the configuration is read, and not for "
                    "each form"
                )
            elif callable(getattr(self, attribute, None)):
                error(f"{type(self).__name__} '{self.name}': computed values are not supported by Muster yet")

    @property
    def fullName(self):
        """With the names of the groups around it."""
        parent = self.parentName
        if not self.name:
            return parent
        return f"{parent}_{self.name}" if parent else self.name

    def setParent(self, parent):
        self.parentName = parent.fullName if parent is not None else None

    def spec(self):
        """The description that the REST API gives, without the fields of a group."""
        names = {name for base in type(self).__mro__ for name in vars(base).get("spec_attributes", ())}
        made = {name: getattr(self, name) for name in sorted({*_SPEC, *names})}
        made["regex"] = None
        return made

    def as_data(self, encode):
        """The field for the snapshot."""
        regex = None if self.regex is None else pattern_text(self.regex)
        return {
            "kind": self.kind,
            "name": self.name,
            "full_name": self.fullName,
            "label": self.label,
            "default": encode(self.default),
            "required": bool(self.required),
            "multiple": bool(self.multiple),
            "regex": regex,
            "maxsize": self.maxsize,
            "spec": encode(self.spec()),
        }


class FixedParameter(BaseParameter):
    """A value that can't be changed."""

    kind = "fixed"
    type = "fixed"
    hide = True
    default = ""


class StringParameter(BaseParameter):
    """One line."""

    kind = "text"
    spec_attributes = ("size",)
    type = "text"
    size = 10


class TextParameter(StringParameter):
    """Several lines."""

    kind = "text_area"
    spec_attributes = ("cols", "rows")
    type = "textarea"
    cols = 80
    rows = 20


class IntParameter(StringParameter):
    """A whole number."""

    kind = "int"
    type = "int"
    default = 0


class BooleanParameter(BaseParameter):
    """Yes or no."""

    kind = "bool"
    type = "bool"


class UserNameParameter(StringParameter):
    """Who starts the build."""

    kind = "user_name"
    spec_attributes = ("need_email",)
    type = "username"
    default = ""
    size = 30
    need_email = True

    def __init__(self, name="username", label="Your name:", **kw):
        super().__init__(name, label, **kw)

    def as_data(self, encode):
        return {**super().as_data(encode), "need_email": bool(self.need_email)}


class ChoiceStringParameter(BaseParameter):
    """One of several texts."""

    kind = "choice"
    spec_attributes = ("choices", "strict")
    type = "list"
    choices = []
    strict = True

    def as_data(self, encode):
        choices = [str(choice) for choice in self.choices]
        return {**super().as_data(encode), "choices": choices, "strict": bool(self.strict)}


class WorkerChoiceParameter(ChoiceStringParameter):
    """One of the workers."""

    kind = "worker_choice"
    anySentinel = "-any-"
    label = "Worker"
    required = False
    strict = False

    def __init__(self, name="workername", **kwargs):
        super().__init__(name, **kwargs)


class FileParameter(BaseParameter):
    """The content of a file."""

    kind = "file"
    type = "file"
    maxsize = 1024 * 1024 * 10


class NestedParameter(BaseParameter):
    """A group of fields."""

    kind = "nested"
    spec_attributes = ("layout", "columns")
    type = "nested"
    layout = "vertical"
    columns = None
    fields = None

    def __init__(self, name, fields, **kwargs):
        super().__init__(fields=fields, name=name, **kwargs)
        if self.columns is None:
            visible = [field for field in fields if not field.hide]
            self.columns = 2 if len(visible) >= 4 else 1

    def setParent(self, parent):
        super().setParent(parent)
        for field in self.fields:
            field.setParent(self)

    def as_data(self, encode):
        fields = [field.as_data(encode.at(field.name or index)) for index, field in enumerate(self.fields)]
        return {**super().as_data(encode), "fields": fields}


ParameterGroup = NestedParameter


class AnyPropertyParameter(NestedParameter):
    """A property whose name is entered too."""

    kind = "any_property"

    def __init__(self, name, **kw):
        fields = [StringParameter(name="name", label="Name:"), StringParameter(name="value", label="Value:")]
        super().__init__(name, label="", fields=fields, **kw)


class PatchParameter(NestedParameter):
    """A patch."""

    kind = "patch"
    columns = 1

    def __init__(self, **kwargs):
        name = kwargs.pop("name", "patch")
        defaults = [
            FileParameter("body"),
            IntParameter("level", default=1),
            StringParameter("author", default=""),
            StringParameter("comment", default=""),
            StringParameter("subdir", default="."),
        ]
        fields = [kwargs.pop(field.name, field) for field in defaults]
        super().__init__(name, fields=fields, **kwargs)


class CodebaseParameter(NestedParameter):
    """What to build of one codebase."""

    kind = "codebase"
    codebase = ""

    _DEFAULT = object()

    def __init__(
        self,
        codebase,
        name=None,
        label=None,
        branch=_DEFAULT,
        revision=_DEFAULT,
        repository=_DEFAULT,
        project=_DEFAULT,
        patch=None,
        **kwargs,
    ):
        self.codebase = codebase
        given = {"branch": branch, "revision": revision, "repository": repository, "project": project}
        fields = [self._field(key, value) for key, value in given.items()] + ([patch] if patch is not None else [])
        fields = sorted((field for field in fields if field is not None), key=self._order)
        if label is None and codebase:
            label = f"Codebase: {codebase}"
        if patch is not None:
            kwargs.setdefault("columns", 1)
        super().__init__(name or codebase, fields=fields, label=label, **kwargs)

    def _field(self, key, value):
        if value is self._DEFAULT:
            return StringParameter(name=key, label=key.capitalize() + ":")
        if isinstance(value, str):
            return FixedParameter(name=key, default=value)
        return value

    @staticmethod
    def _order(field):
        order = ("branch", "project", "repository", "revision")
        return order.index(field.name) if field.name in order else len(order)

    def as_data(self, encode):
        return {**super().as_data(encode), "codebase": self.codebase}


def oneCodebase(**kw):
    """The one nameless codebase."""
    return [CodebaseParameter("", **kw)]


class ForceScheduler(BaseScheduler):
    """Builds when a person says so."""

    kind = "force"
    class_name = "buildbot.schedulers.forcesched.ForceScheduler"

    def __init__(
        self,
        name,
        builderNames,
        username=None,
        reason=None,
        reasonString="A build was forced by '%(owner)s': %(reason)s",
        buttonName=None,
        codebases=None,
        label=None,
        properties=None,
        priority=None,
    ):
        name = util.bytes2unicode(name)
        if name == "":
            error(f"ForceScheduler name must not be empty: {name!r}")
        if not isinstance(name, str) or not ident_re.match(name):
            error(f"ForceScheduler name must be an identifier: {name!r}")
        self.form_codebases = self._checked_form_codebases(name, codebases)
        super().__init__(name, builderNames, codebases={field.codebase: {} for field in self.form_codebases})
        if not isinstance(builderNames, list) or not all(isinstance(b, str) for b in builderNames):
            error(f"ForceScheduler {name!r}: builderNames must be a list of strings: {builderNames!r}")
        self.buttonName, self.label = buttonName or name, name if label is None else label
        self.reasonString = reasonString
        self.username = self._checked("username", username, UserNameParameter(), BaseParameter, "a BaseParameter")
        default_reason = StringParameter(name="reason", default="force build", size=20)
        self.reason = self._checked("reason", reason, default_reason, BaseParameter, "a BaseParameter")
        default_priority = IntParameter(name="priority", default=0)
        self.priority_field = self._checked("priority", priority, default_priority, IntParameter, "a IntParameter")
        self.forcedProperties = self._checked_properties(properties)

    def _checked(self, what, value, default, kind, text):
        if value is None:
            return default
        if not isinstance(value, kind):
            error(f"ForceScheduler {self.name!r}: {what} must be {text}: {value!r}")
            return default
        return value

    def _checked_form_codebases(self, name, codebases):
        if codebases is None:
            return [CodebaseParameter(codebase="")]
        if not codebases:
            error(
                f"ForceScheduler {name!r}: 'codebases' cannot be empty; use [CodebaseParameter(codebase='', "
                f"hide=True)] if needed: {codebases!r} "
            )
        if isinstance(codebases, dict):
            error(
                f"ForceScheduler {name!r}: 'codebases' should be a list of strings or CodebaseParameter, "
                f"not {type(codebases)}"
            )
            return []
        fields = []
        for codebase in codebases:
            if isinstance(codebase, str):
                fields.append(CodebaseParameter(codebase=codebase))
            elif isinstance(codebase, CodebaseParameter):
                fields.append(codebase)
            else:
                error(
                    f"ForceScheduler {name!r}: 'codebases' must be a list of strings or CodebaseParameter objects: "
                    f"{codebases!r}"
                )
        return fields

    def _checked_properties(self, properties):
        if properties is None:
            return []
        if not isinstance(properties, list) or not all(isinstance(field, BaseParameter) for field in properties):
            error(f"ForceScheduler {self.name!r}: properties must be a list of BaseParameters: {properties!r}")
            return []
        return properties

    @property
    def all_fields(self):
        """The form: who and why, then the codebases, then the properties."""
        first = NestedParameter(name="", fields=[self.username, self.reason, self.priority_field])
        fields = [first, *self.form_codebases, *self.forcedProperties]
        for field in fields:
            field.setParent(None)
        return fields

    def own_data(self, encode):
        fields = self.all_fields
        return {
            "button_name": self.buttonName,
            "label": self.label,
            "reason_string": self.reasonString,
            "fields": [field.as_data(encode.at("fields", index)) for index, field in enumerate(fields)],
        }
