"""Properties and the values made of them."""

import unittest

from buildbot.process.properties import (
    FlattenList,
    Properties,
    Property,
    Secret,
    Transform,
    WithProperties,
    render,
    renderer,
)
from muster_host.encode import Encoder, Functions
from tests.support import properties


class Sets(unittest.TestCase):
    def test_values_have_sources(self):
        props = Properties.fromDict({"a": (1, "Scheduler")})
        self.assertEqual(props.getPropertySource("a"), "Scheduler")
        self.assertEqual(props["a"], 1)
        self.assertEqual(props.getProperty("b", 2), 2)
        self.assertIn("a", props)
        self.assertFalse(props.hasProperty("b"))

    def test_later_values_win(self):
        props = Properties(a=1)
        props.updateFromProperties(Properties(a=2, b=3))
        self.assertEqual(props.asList(), [("a", 2, "TEST"), ("b", 3, "TEST")])

    def test_names_are_texts(self):
        with self.assertRaises(TypeError):
            Properties().setProperty(1, 2, "test")


class Renderables(unittest.TestCase):
    def test_property_default(self):
        props = properties(z=0, a="A")
        self.assertEqual(render(Property("z", "d"), props), "d")
        self.assertEqual(render(Property("z", "d", defaultWhenFalse=False), props), 0)
        self.assertEqual(render(Property("miss", Property("a")), props), "A")
        self.assertIsNone(render(Property("z"), props))

    def test_containers(self):
        props = properties(a="A")
        value = [Property("a"), {"k": Property("a")}]
        self.assertEqual(render(value, props), ["A", {"k": "A"}])

    def test_operators(self):
        props = properties(n=7, l=["a"], t="x")
        self.assertTrue(render(Property("n") == 7, props))
        self.assertTrue(render(Property("n") > 3, props))
        self.assertEqual(render(Property("n") + 1, props), 8)
        self.assertEqual(render(Property("n") // 2, props), 3)
        self.assertTrue(render(Property("t").in_(["x", "y"]), props))

    def test_properties_can_not_be_hashed(self):
        with self.assertRaises(TypeError):
            hash(Property("a"))

    def test_renderers_with_arguments(self):
        @renderer
        def join(props, *parts, sep):
            return sep.join([props.getProperty("a"), *parts])

        made = join.withArgs("b").withArgs(Property("a"), sep="-")
        self.assertEqual(render(made, properties(a="A")), "A-b-A")

    def test_renderers_may_return_renderables_and_be_asynchronous(self):
        @renderer
        async def later(props):
            return Property("a")

        self.assertEqual(render(later, properties(a="A")), "A")

    def test_renderers_may_have_other_values_rendered(self):
        @renderer
        async def inner(props):
            return props.getProperty("a")

        @renderer
        async def outer(props):
            return [await props.render(inner), await props.render(Property("a"))]

        class Own:
            def getRenderingFor(self, props):
                return props.render(outer)

        self.assertEqual(render(Own(), properties(a="A")), ["A", "A"])

    def test_transform(self):
        self.assertEqual(render(Transform(sorted, Property("l"), reverse=True), properties(l=[1, 3, 2])), [3, 2, 1])

    def test_flatten_list(self):
        nested = FlattenList([["a", Property("l")], "d"]) + [["e"]]
        self.assertEqual(render(nested, properties(l=["b", ["c"]])), ["a", "b", "c", "d", "e"])

    def test_with_properties(self):
        props = properties(a="A", n=None, e="")
        self.assertEqual(render(WithProperties("%s.%s", "a", "n"), props), "A.")
        self.assertEqual(render(WithProperties("%(miss:-d)s%(e:~t)s%(a:+y)s%(f)s", f=lambda p: 1), props), "dty1")
        with self.assertRaises(KeyError):
            render(WithProperties("%(miss)s"), props)

    def test_secrets_are_asked_for(self):
        props = properties()
        props.lookUp = lambda selector, name: (f"{selector}/{name}",)
        self.assertEqual(render(Secret("s"), props), "secret/s")


class Forms(unittest.TestCase):
    """How values leave Python."""

    def encode(self, value):
        self.functions = Functions()
        return Encoder(self.functions, "here")(value)

    def test_plain_values_stay(self):
        value = {"a": [1, 2.5, None, True, "x"], "b": {}}
        self.assertEqual(self.encode(value), value)

    def test_renderables_are_marked(self):
        self.assertEqual(
            self.encode([Property("a", default="d")]),
            [{"$r": "property", "name": "a", "default": "d", "default_when_false": True}],
        )

    def test_other_keys_and_the_mark_itself(self):
        self.assertEqual(self.encode({0: 1}), {"$r": "dict", "items": [[0, 1]]})
        self.assertEqual(self.encode({"$r": 1}), {"$r": "dict", "items": [["$r", 1]]})

    def test_bytes(self):
        self.assertEqual(self.encode(b"\xff"), {"$r": "bytes", "b64": "/w=="})

    def test_functions_have_a_handle_and_a_digest(self):
        def f(props):
            return 1

        form = self.encode({"k": renderer(f)})["k"]
        self.assertEqual(form["handle"], "here/k")
        self.assertTrue(form["source"]["file"].endswith("test_properties.py"))
        self.assertIs(self.functions.get("here/k")[0], f)

    def test_the_digest_knows_what_a_closure_holds(self):
        def make(value):
            return lambda props: value

        digests = {self.encode(renderer(make(value)))["source"]["digest"] for value in (1, 1, 2)}
        self.assertEqual(len(digests), 2)

    def test_a_users_own_renderable_is_a_function(self):
        class Mine(Property):
            def getRenderingFor(self, props):
                return super().getRenderingFor(props) + "!"

        form = self.encode(Mine("a"))
        self.assertEqual(form["$r"], "callable")
        self.assertEqual(self.functions.get("here")[0](properties(a="A")), "A!")


if __name__ == "__main__":
    unittest.main()
