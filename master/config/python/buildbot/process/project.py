"""Projects: groups of builders."""

from buildbot import util
from buildbot.config.checks import check_markdown, check_param_str, check_param_str_none, rendered


class Project(util.ComparableMixin):
    """A group of builders with a description."""

    compare_attrs = ("name", "slug", "description", "description_format")

    def __init__(self, name, slug=None, description=None, description_format=None):
        self.name = check_param_str(name, "Project", "name")
        self.slug = check_param_str(name if slug is None else slug, "Project", "slug")
        self.description = check_param_str_none(description, "Project", "description")
        self.description_format = check_markdown(description_format, "project")

    def as_data(self):
        html = rendered(self.description, self.description_format)
        return {**{name: getattr(self, name) for name in self.compare_attrs}, "description_html": html}
