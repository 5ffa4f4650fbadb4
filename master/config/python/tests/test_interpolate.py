"""`Interpolate`: its grammar, measured on Buildbot 4.3, and its errors."""

import unittest

from buildbot.process.properties import Interpolate, Property, render
from tests.support import errors_of, properties

VALUES = {"a": "A", "e": "", "z": 0, "n": None, "l": ["x", "y"], "f": False, "bn": "b"}

MEASURED = [
    ("%(prop:miss)s", ""),
    ("%(prop:e:-d)s", ""),
    ("%(prop:n:-d)s", ""),
    ("%(prop:z:~d)s", "d"),
    ("%(prop:e:+y)s", "y"),
    ("%(prop:miss:+y)s", ""),
    ("%(prop:e:?|t|f)s", "t"),
    ("%(prop:e:#?|t|f)s", "f"),
    ("%(prop:a:?:T%(prop:bn)s:F)s", "Tb"),
    ("%(prop:miss:-%(prop:bn)s)s", "b"),
    ("%(prop:a:?|t|f|g)s", "t"),
    ("%(prop:miss:?|t|f|g)s", "f|g"),
    ("%(prop:l)s", "['x', 'y']"),
    ("%(prop:f)s", "False"),
    ("%(prop:a)10s", "         A"),
    ("100%% of %(prop:a)r", "100% of 'A'"),
]


class Rendering(unittest.TestCase):
    def render(self, *args, **kwargs):
        return render(Interpolate(*args, **kwargs), properties(**VALUES))

    def test_measured_table(self):
        for fmt, expected in MEASURED:
            with self.subTest(fmt):
                self.assertEqual(self.render(fmt), expected)

    def test_positional_arguments_are_rendered(self):
        self.assertEqual(self.render("%s-%03d", Property("a"), 7), "A-007")

    def test_keywords_are_rendered(self):
        self.assertEqual(self.render("%(kw:x)s", x=Property("bn")), "b")

    def test_nested_formats_see_the_keywords(self):
        self.assertEqual(self.render("%(prop:miss:-%(kw:x)s)s", x="y"), "y")

    def test_a_missing_keyword_is_empty(self):
        self.assertEqual(self.render("<%(kw:nothing)s>"), "<>")

    def test_sourcestamps_are_looked_up(self):
        props = properties()
        props.lookUp = lambda selector, *names: (None,) if names == ("cb", "branch") else None
        self.assertEqual(render(Interpolate("%(src:cb:branch:-x)s"), props), "")
        self.assertEqual(render(Interpolate("%(src:zz:revision:-x)s"), props), "x")


class Errors(unittest.TestCase):
    def check(self, fmt, *expected):
        self.assertEqual(errors_of(lambda: Interpolate(fmt)), list(expected))

    def test_unknown_operator(self):
        self.check("%(prop:a:*x)s", "invalid Interpolate default type '*'")

    def test_source_needs_two_names(self):
        self.check("%(src:a)s", "Must specify both codebase and attribute for src Interpolation 'a'")

    def test_names_are_words(self):
        self.check("%(prop:a b)s", "Property name must be alphanumeric for prop Interpolation 'a b'")
        self.check("%(kw:a b)s", "Keyword must be alphanumeric for kw Interpolation 'a b'")
        self.check("%(src:a b:c)s", "Codebase must be alphanumeric for src Interpolation 'a b:c'")
        self.check("%(src:a:b c)s", "Attribute must be alphanumeric for src Interpolation 'a:b c'")

    def test_ternary_needs_two_parts(self):
        self.check("%(prop:a:?|t)s", "invalid Interpolate ternary expression 't' with delimiter '|'")

    def test_selectors(self):
        for fmt in ("%(foo:a)s", "%(foo)s"):
            with self.subTest(fmt), self.assertRaises(TypeError):
                errors_of(lambda fmt=fmt: Interpolate(fmt))

    def test_errors_of_nested_formats(self):
        self.check("%(prop:a:-%(prop:b:*)s)s", "invalid Interpolate default type '*'")

    def test_a_lone_percent_is_no_format(self):
        with self.assertRaises(ValueError):
            Interpolate("100%")

    def test_arguments_are_not_mixed(self):
        expected = ["Interpolate takes either positional or keyword substitutions, not both."]
        self.assertEqual(errors_of(lambda: Interpolate("%s", "a", b=1)), expected)


if __name__ == "__main__":
    unittest.main()
