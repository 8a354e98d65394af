"""What ``lean`` takes out of the firmware's source for boards, and what it leaves alone."""

import ast
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware.tools.lean import LeanError, lean

CODES = {
    "common/codes.py": "class Colour:\n    RED = 1\n    BLUE = -2\nclass Taste:\n    SOUR = 3\n"
}


def lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]


def test_a_constant_of_another_file_becomes_its_number():
    made = lean({
        "a/b.py": "FIRST = const(0x10)\nNEXT = FIRST + 1\n",
        "c.py": "from a.b import FIRST, NEXT as n\nfrom a import b\nprint(FIRST, n, b.NEXT)\n",
    })  # fmt: skip
    assert lines(made["c.py"]) == ["print(16, 17, 17)"]
    assert "a/b.py" not in made


def test_a_file_of_which_more_is_wanted_stays_without_its_constants():
    made = lean({
        "a.py": "LIMIT = const(5)\n_OWN = const(6)\ndef f():\n    return LIMIT + _OWN\n",
        "c.py": "from a import LIMIT, f\nprint(LIMIT, f())\n",
    })  # fmt: skip
    assert lines(made["a.py"]) == ["_OWN = const(6)", "def f():", "    return 5 + _OWN"]
    assert lines(made["c.py"]) == ["from a import f", "print(5, f())"]


def test_members_of_enumerations_become_numbers_and_idle_enumerations_go():
    made = lean({
        **CODES,
        "c.py": "from common.codes import Colour, Taste\nx = 3 - Colour.BLUE\ngetattr(Taste, y)\n",
    })  # fmt: skip
    assert lines(made["c.py"]) == [
        "from common.codes import Taste",
        "x = 3 - (-2)",
        "getattr(Taste, y)",
    ]
    assert lines(made["common/codes.py"]) == ["class Taste:", "    SOUR = 3"]


def test_what_a_file_of_the_boards_own_imports_is_kept():
    files = {**CODES, "c.py": "from common.codes import Colour\nprint(Colour.RED)\n"}
    assert set(lean(files)) == {"c.py"}
    made = lean(files, frozenset({"common.codes.Colour"}))
    assert lines(made["common/codes.py"]) == ["class Colour:", "    RED = 1", "    BLUE = -2"]


def test_imports_that_only_serve_types_go():
    made = lean({
        "a.py": "class A: pass\nclass B(A): pass\n",
        "b.py": "import time\n",
        "c.py": (
            "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from b import T\n"
            "from a import (\n    A,\n    B,\n)\nfrom common.mp import const\n\n"
            "_X = const(1)\ndef f(a: A, b: 'T') -> A:\n    c: A = B()\n    return c\n"
        ),
    })  # fmt: skip
    assert lines(made["c.py"]) == [
        "from a import B",
        "_X = const(1)",
        "def f(a: A, b: 'T') -> A:",
        "    c: A = B()",
        "    return c",
    ]
    assert "b.py" not in made
    assert "a.py" in made


def test_a_constant_made_of_another_goes_whole():
    made = lean({"a.py": "FIRST = const(0x10)\nNEXT = FIRST + 1\nprint(NEXT)\nx = 2\n"})
    assert lines(made["a.py"]) == ["print(17)", "x = 2"]


def test_an_import_in_a_function_leaves_no_hole():
    made = lean({"a.py": "N = 1\n", "b.py": "def f():\n    from a import N\n"})
    assert lines(made["b.py"]) == ["def f():", "    pass"]


def test_everything_else_stands_as_it_was_written():
    source = (
        'a = "\u00b5\u03a9"; b = N  # \u2126\nb, a = a, b\nc = (\n    N,\n    "\u00e9", N,\n)\n'
    )
    made = lean({"a.py": "from b import N\n" + source, "b.py": "N = 7\n"})
    assert made["a.py"].lstrip() == source.replace("N", "7")


def test_a_file_that_nothing_ever_imported_stays():
    assert set(lean({"main.py": "print(1)\n", "x/__init__.py": ""})) == {
        "main.py",
        "x/__init__.py",
    }


@pytest.mark.parametrize(
    "source",
    [
        "from a import N\ndef f(N):\n    return N\n",
        "from a import N\nN = 2\n",
        "import a\nfrom p import a\na = 3\n",
        "from p import a\na.N = 3\n",
        'from a import N\nprint(f"{N}")\n',
        "N = 1\nN = 2\n",
        "N = 1\ndef f():\n    for N in (1, 2):\n        print(N)\n",
    ],
)
def test_a_name_of_two_meanings_is_refused_by_name(source):
    files = {"a.py": "N = 5\n", "p/a.py": "N = 6\n", "c.py": source}
    with pytest.raises(LeanError, match=r"^c\.py:.*constant"):
        lean(files)


def test_what_is_no_literal_is_no_constant():
    made = lean({
        "a.py": "B = True\nC = len('ab')\nD = [1]\nE = (1, [2])\n",
        "c.py": "from a import B, C, D, E\nprint(B, C, D, E)\n",
    })  # fmt: skip
    assert lines(made["c.py"])[0] == "from a import B, C, D, E"


def test_a_text_or_tuple_is_written_out_where_one_place_names_it():
    made = lean({
        "a.py": "_N = const(2)\nT = ('x', 1.5, _N, (-3,), ())\nU = b'\\x00'\nV = 'twice'\n",
        "c.py": "from a import T, U, V\nprint(T, U)\nprint(V, V)\n",
    })  # fmt: skip
    assert lines(made["c.py"]) == [
        "from a import V",
        "print(('x', 1.5, 2, ((-3), ), (), ), b'\\x00')",
        "print(V, V)",
    ]
    assert lines(made["a.py"]) == ["_N = const(2)", "V = 'twice'"]


@pytest.mark.parametrize("asked", ["found.MODEL", "getattr(found, 'MODEL')"])
@pytest.mark.parametrize("value", ["7", "('x', 7)"])
def test_what_an_unknown_object_is_asked_for_stays_where_it_is(asked, value):
    made = lean({
        "a.py": f"MODEL = {value}\nprint(MODEL)\n",
        "b.py": f"found = __import__('a')\nprint({asked})\n",
    })  # fmt: skip
    assert lines(made["a.py"])[0] == f"MODEL = {value}"


@pytest.mark.parametrize(
    "source",
    ["import p.a\nprint(p.a.N)\n", "import p.a as q\nprint(q.N)\n", "from p.a import *\n"],
)
def test_an_import_that_hides_constants_is_refused(source):
    with pytest.raises(LeanError, match=r"^c\.py:1: .*import"):
        lean({"p/a.py": "N = 6\n", "c.py": source})


OURS = ("common", "firmware")


@pytest.mark.parametrize("afe", ["bq76952", "ltc6813"])
def test_an_image_names_nothing_that_it_does_not_have(
    root: Path, tmp_path: Path, afe: str
) -> None:
    script = runpy.run_path(str(root / "tests" / "benchmarks" / "firmware_size.py"))
    image = script["Manifest"](script["MANIFEST"]).image("armv7emsp", afe)
    trees = {name: ast.parse(source) for name, source in lean(image, script["KEPT"]).items()}
    there = set().union(*(set(names_of(name, tree)) for name, tree in trees.items()))
    lacking = {
        (name, node.module)
        for name, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(OURS)
        for alias in node.names
        if f"{node.module}.{alias.name}" not in there
    }
    assert lacking == set()
    for name, tree in trees.items():
        for node in ast.walk(tree):  # boards do not look at annotations
            if isinstance(node, ast.arg):
                node.annotation = None
            elif isinstance(node, ast.AnnAssign):
                node.annotation = ast.Constant(0)
            elif isinstance(node, ast.FunctionDef):
                node.returns = None
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(ast.unparse(tree), encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821,F822,F401"]
    command += ["--config", 'builtins = ["const"]', str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def names_of(path: str, tree: ast.Module) -> Iterator[str]:
    """Every ``module.name`` that can be imported of a file, itself among them."""
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    yield module
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield f"{module}.{node.name}"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield f"{module}.{node.id}"


def test_a_text_in_which_no_constant_stands_is_left_alone():
    made = lean({"a.py": "LIMIT = const(5)\nx = 1\nprint(f'{x}', LIMIT)\n"})
    assert lines(made["a.py"]) == ["x = 1", "print(f'{x}', 5)"]


def test_of_several_modules_that_one_line_imports_the_idle_go():
    made = lean({"a.py": "import os, sys\nprint(sys.path)\n"})
    assert lines(made["a.py"]) == ["import sys", "print(sys.path)"]
