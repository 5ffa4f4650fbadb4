"""Checks that several constructors share."""

from buildbot import interfaces
from buildbot.config.errors import error


def check_param_type(value, default, class_name, name, types, types_text):
    """The value if its type is right; else an error is reported and the default returned."""
    if isinstance(value, types):
        return value
    error(f"{class_name} argument {name} must be an instance of {types_text}")
    return default


def check_param_str(value, class_name, name):
    return check_param_type(value, "(unknown)", class_name, name, (str,), "str")


def check_param_str_none(value, class_name, name):
    return check_param_type(value, None, class_name, name, (str, type(None)), "str or None")


def check_param_int(value, class_name, name):
    return check_param_type(value, 0, class_name, name, (int,), "int")


def check_param_bool(value, class_name, name):
    return check_param_type(value, False, class_name, name, (bool,), "bool")


def check_param_number_none(value, class_name, name):
    return check_param_type(value, 0, class_name, name, (int, float, type(None)), "int or float or None")


def or_renderable(check):
    """The same check, which lets every renderable pass."""

    def checked(value, class_name, name):
        if interfaces.IRenderable.providedBy(value):
            return value
        return check(value, class_name, name)

    return checked


def check_names_of_properties(names, prefix):
    """Reports the names that are longer than the database's column."""
    for name in names:
        if len(name) > 256:
            error(f"{prefix} '{name}' exceeds maximum length of 256")


def check_markdown(description_format, what):
    """Reports a format of descriptions that does not exist, and gives the format to use."""
    if description_format not in (None, "markdown"):
        error(f'{what} description format must be None or "markdown"')
        return None
    return description_format


def rendered(description, description_format):
    """The description as HTML, where it has a format and the library that reads it is there."""
    if not description or description_format is None:
        return None
    try:
        import markdown
    except ImportError:
        return None
    return markdown.markdown(description)
