"""Each check finds what it is for, and lets good files pass. Run with `python3 -m unittest discover checks/tests -t .`."""

from __future__ import annotations

import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from checks import circles, effective, generated, lengths, licences, links, lints, metrics, outside, paths, rust, sql
from checks.tree import Tree

MANIFEST = "[package]\nname = '{name}'\n[lints]\nworkspace = true\n[dependencies]\n{uses}\n"


class Checks(unittest.TestCase):
    def found(self, check, files: dict[str, str]) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "init", "-q", folder], check=True)
            for name, text in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return list(check.problems(Tree(Path(folder))))

    def test_a_setting_that_nobody_reads_is_found(self) -> None:
        files = {
            "master/config/src/snapshot.rs": "pub struct Snapshot {\n    /// Read.\n    pub title: String,\n    pub dead: u8,\n}\n",
            "master/web/src/page.rs": "fn show(snapshot: &Snapshot) -> &str {\n    &snapshot.title\n}\n",
            "master/web/tests/page.rs": "fn test(snapshot: &Snapshot) -> u8 {\n    snapshot.dead\n}\n",
        }
        found = self.found(effective, files)
        self.assertEqual(len(found), 1, found)
        self.assertIn("nobody reads Snapshot.dead", found[0])

    def test_pages_that_are_out_of_date(self):
        path = generated.MODULES[0]
        self.assertEqual(self.found(generated, {path: "import sys\nsys.exit('out of date')\n"}), ["out of date"])
        self.assertEqual(self.found(generated, {path: ""}), [])

    def test_long_files_and_functions(self):
        long_file = "// x\n" * 601
        self.assertEqual(len(self.found(lengths, {"a.rs": long_file, "tests/b.rs": long_file})), 1)
        line = "    let brace = '{'; // }\n"
        self.assertEqual(self.found(lengths, {"a.rs": "fn fits() {\n" + line * 78 + "}\n"}), [])
        long = "fn long<T: Into<u8>>(x: T) {\n" + line * 79 + "}\nfn b() {}\n"
        (problem,) = self.found(lengths, {"a.rs": long})
        self.assertIn("long has 81 lines", problem)
        self.assertEqual(len(self.found(lengths, {"a.py": "def long():\n" + "    x = 1\n" * 80})), 1)

    def test_metrics_are_documented(self):
        files = {
            "a.rs": 'fn f() { counter!("muster_a_total", "kind" => "x"); gauge!("other").set(1.0); }\n',
            metrics.DOCUMENT: "| name |\n| `muster_b` | gauge |\n",
        }
        problems = self.found(metrics, files)
        self.assertEqual(len(problems), 3)
        self.assertIn("muster_a_total is not in the table", problems[0])
        files[metrics.DOCUMENT] = "| `muster_a_total` | counter |\n"
        self.assertEqual(len(self.found(metrics, files)), 1)

    def test_circles_between_crates(self):
        crates = {
            "a/Cargo.toml": MANIFEST.format(name="a", uses="b.path = '../b'"),
            "b/Cargo.toml": MANIFEST.format(name="b", uses="[dev-dependencies]\na.path = '../a'"),
        }
        self.assertEqual(self.found(circles, crates), ["crates in a circle: a -> b -> a"])

    def test_circles_between_modules_follow_re_exports(self):
        files = {
            "a/Cargo.toml": MANIFEST.format(name="a", uses=""),
            "a/src/lib.rs": "mod one;\nmod two;\npub use two::{Two as Second};\n",
            "a/src/one.rs": "use crate::Second;\npub struct One(Second);\n",
            "a/src/two.rs": "pub struct Two;\n#[cfg(test)]\nmod tests { use crate::one::One; }\n",
        }
        self.assertEqual(self.found(circles, files), [])
        files["a/src/two.rs"] = "pub struct Two(Box<crate::one::One>);\n"
        self.assertEqual(self.found(circles, files), ["a/src/: modules in a circle: one -> two -> one"])

    def test_a_known_circle_passes_until_it_is_gone(self):
        files = {
            "a/Cargo.toml": MANIFEST.format(name="a", uses=""),
            "a/src/one.rs": "pub struct One(Box<crate::two::Two>);\n",
            "a/src/two.rs": "pub struct Two(Box<crate::one::One>);\n",
        }
        with mock.patch.dict(circles.KNOWN, {("a/src/", frozenset({"one", "two"})): "a reason"}):
            self.assertEqual(self.found(circles, files), [])
            files["a/src/two.rs"] = "pub struct Two;\n"
            (problem,) = self.found(circles, files)
            self.assertIn("in no circle any more", problem)

    def test_a_module_and_its_children_may_know_each_other(self):
        files = {
            "a/Cargo.toml": MANIFEST.format(name="a", uses=""),
            "a/src/lib.rs": "mod one;\npub struct Top(one::One);\n",
            "a/src/one.rs": "use super::Top;\npub struct One(Box<Top>);\n",
        }
        self.assertEqual(self.found(circles, files), [])

    def test_sql_outside_the_store_and_built_inside_it(self):
        query = 'fn a() { run("SELECT id FROM builds"); }\n'
        self.assertEqual(len(self.found(sql, {"master/web/src/a.rs": query, "master/store/src/a.rs": query})), 1)
        self.assertEqual(self.found(sql, {"master/web/src/a.rs": '// "SELECT a FROM b"\nfn a() { say("UPDATED"); }'}), [])
        built = 'fn a(x: i64) {\n    format!("SELECT id FROM builds WHERE id = {x}")\n}\n'
        self.assertEqual(len(self.found(sql, {"master/store/src/a.rs": built})), 1)
        self.assertEqual(self.found(sql, {"master/store/src/a.rs": built.replace("{x}", "{ONE}")}), [])
        said = built.replace("    format", "    // SQL: a number\n    format")
        self.assertEqual(self.found(sql, {"master/store/src/a.rs": said}), [])

    def test_lints_are_inherited_and_stay_on(self):
        self.assertEqual(len(self.found(lints, {"a/Cargo.toml": "[package]\nname = 'a'\n"})), 1)
        off = "#![allow(clippy::unwrap_used, missing_docs)]\n"
        self.assertEqual(self.found(lints, {"a/src/lib.rs": off}), ["a/src/lib.rs:1: switches off clippy::unwrap_used"])

    def test_links(self):
        page = "# The Title!\n[a](b.md#in-b) [c](missing.md) ![d](#the-title) [e](https://x.y/) `[f](g)`\n"
        found = self.found(links, {"a.md": page, "b.md": "```\n# not\n```\n## In `b`\n"})
        self.assertEqual(found, ["a.md:2: leads to missing.md, which is not there"])
        self.assertEqual(len(self.found(links, {"a.md": "[b](#nowhere)\n"})), 1)

    def test_paths_of_one_machine(self):
        page = "see /var/tmp/x\nand /tmp/x, /home/somebody/x, https://x/var/tmp/y\n"
        self.assertEqual(self.found(paths, {"a.md": page}), ["a.md:1: names /var/tmp/x, a path of one machine"])

    def test_what_is_read_from_outside_of_the_repository(self):
        good = {
            "a/Cargo.toml": "[package]\n[dependencies]\nb = { path = '../b' }\n",
            "a/src/lib.rs": 'const A: &str = include_str!("../../docs/a.md");\nfn b() { link("../../../../x") }\n',
            "a/tests/it.rs": 'fn a() { Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden"); }\n',
            "checks/test": 'cd "$(dirname "$0")/.."\n',
            "tests/it/a.py": "from pathlib import Path\nROOT = Path(__file__).resolve().parents[2]\nb = ROOT.joinpath('..x')\n",
        }
        self.assertEqual(self.found(outside, good), [])
        bad = {
            "a/Cargo.toml": "[package]\n[dependencies]\nb = { path = '../../b' }\n",
            "a/src/lib.rs": 'const A: &str = include_str!("../../../notes.md");\n',
            "a/tests/it.rs": 'fn a() {\n    Path::new(env!("CARGO_MANIFEST_DIR"))\n        .join("../../golden");\n}\n',
            "checks/test": 'cd "$(dirname "$0")/../.."\n',
            "tests/it/a.py": "from pathlib import Path\nROOT = Path(__file__).resolve().parents[3]\n",
            "tests/it/b.py": "BENCH = ROOT.parent / 'bench'\n",
            "tests/it/c.py": "BENCH = open('../shared/bench.json')\n",
            "tests/it/d.py": "from pathlib import Path\nx = Path(__file__).parent.parent.parent.parent\n",
        }
        found = self.found(outside, bad)
        self.assertEqual(sorted(problem.partition(":")[0] for problem in found), sorted(bad), found)

    def test_licence_expressions(self):
        for good in ("MIT", "MIT/Apache-2.0", "(MIT OR X) AND Unicode-3.0", "Apache-2.0 WITH LLVM-exception OR X"):
            self.assertTrue(licences.allowed(good), good)
        for bad in ("X", "MIT AND X", "MIT WITH Some-exception", "GPL-2.0-only"):
            self.assertFalse(licences.allowed(bad), bad)

    def test_code_only_blanks_comments_and_literals(self):
        text = "let a = '\"'; /* { /* } */ */ let b = r#\"{\"#; let c: &'static str = \"\\\"{\"; // {\n{}"
        code = rust.code_only(text)
        self.assertEqual(len(code), len(text))
        self.assertEqual(code.count("{"), 1)
        self.assertIn("&'static str", code)


if __name__ == "__main__":
    unittest.main()
