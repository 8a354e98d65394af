"""What ``shorten`` makes of private names, and which it leaves alone."""

import ast
import io
import tokenize
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from firmware.tools.shorten import shorten


def test_a_private_name_is_the_same_in_every_file() -> None:
    made, names = shorten({
        "a.py": "class A:\n    def _measure(self):\n        return self._count_of_all\n",
        "b.py": "class B(A):\n    def f(self):\n        self._count_of_all = self._measure()\n",
    })  # fmt: skip
    assert names == {"_count_of_all": "_a", "_measure": "_b"}
    assert made == {
        "a.py": "class A:\n    def _b(self):\n        return self._a\n",
        "b.py": "class B(A):\n    def f(self):\n        self._a = self._b()\n",
    }


def test_the_most_frequent_name_gets_the_shortest() -> None:
    source = "".join(f"_rare{k} = {k}\n" for k in range(70)) + "_often = 1\n" + "_often\n" * 9
    _made, names = shorten({"a.py": source})
    assert names["_often"] == "_a"
    assert sorted({len(short) for short in names.values()}) == [2, 3]
    assert len(set(names.values())) == 71


def test_a_short_name_that_is_taken_is_not_given_again() -> None:
    made, names = shorten({"a.py": "_a = 1\n_value = 2\n"})
    assert made == {"a.py": "_a = 1\n_b = 2\n"}
    assert names == {"_a": "_a", "_value": "_b"}


def test_names_of_the_interpreter_of_texts_and_in_texts_stay() -> None:
    source = (
        "import sys\n"
        "x = sys.implementation._mpy\n"
        "_asked = 1\n"
        "getattr(x, '_asked')\n"
        "_told = 2\n"
        "print(f'{_told} told')\n"
        "print('in a _sentence')\n"
        "_sentence = __name__\n"
    )
    assert shorten({"a.py": source}) == ({"a.py": source}, {})


def test_several_names_in_a_line_and_beside_other_letters() -> None:
    made, names = shorten({"a.py": "_one = _two = 'ü'; x = {_one: (_two, 'é', _one)}\n"})
    one, two = names["_one"], names["_two"]
    assert made["a.py"] == f"{one} = {two} = 'ü'; x = {{{one}: ({two}, 'é', {one})}}\n"


def test_a_public_name_of_words_is_shortened_unless_others_have_it() -> None:
    files = {
        "a.py": (
            "import gc, tidy_things\n"
            "class A:\n"
            "    def is_well_fed(self):\n"
            "        mem_free = gc.mem_free\n"
            "        return self.uptime_s + self.count + mem_free() + tidy_things.now_ms\n"
            "    def set(self):\n"
            "        self.uptime_s = self.count = self.now_ms = self.told_often = 0\n"
            "        self.tidy_things = 'is told_often'\n"
        ),
        "tidy_things.py": (
            "import a\nclass B(a.A):\n    def now_ms(self): return self.is_well_fed()\n"
        ),
        "firmware/boards/mine.py": "print(a.uptime_s)\n",
    }
    made, names = shorten(files)
    assert set(names) == {"is_well_fed", "now_ms"}
    for path, source in files.items():
        expected = source
        for name, short in names.items():
            expected = expected.replace(name, short)
        assert made[path] == expected


def test_an_argument_gets_a_letter_within_its_function_alone() -> None:
    source = (
        "length = 3\n"
        "def f(length, other=7):\n"
        "    def g(other):\n"
        "        return other + length\n"
        "    return g(self.length) + len(length) + other\n"
        "print(length, f(1))\n"
    )
    made, _names = shorten({"a.py": source})
    letters = made["a.py"].split("def f(")[1].split("=7")[0].split(", ")
    assert made["a.py"] == (
        "length = 3\n"
        "def f(L, O=7):\n"
        "    def g(O):\n"
        "        return O + L\n"
        "    return g(self.length) + len(L) + O\n"
        "print(length, f(1))\n"
    ).replace("L", letters[0]).replace("O", letters[1])
    assert [len(letter) for letter in letters] == [1, 1]


def test_an_argument_that_a_call_names_and_a_default_stay() -> None:
    files = {
        "a.py": "def f(length, width):\n    return length * width\n",
        "b.py": "from a import f\nf(1, width=2)\n",
        "d.py": "class A:\n    def anchor(self, anchor):\n        return anchor\n",
        "c.py": "limit = 2\ndef h(limit=limit):\n    return limit\n",
        "firmware/boards/mine.py": "def start(settings):\n    return settings\n",
    }
    made, _names = shorten(files)
    assert "width" in made["a.py"]
    assert "length" not in made["a.py"]
    assert {name: made[name] for name in list(files)[1:]} == {
        name: files[name] for name in list(files)[1:]
    }


NAMES = st.sampled_from(["_one", "_two_or_three", "_a", "_b", "open", "four", "__five__"])


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1))
def test_what_a_program_does_stays(pairs: list[tuple[str, str]]) -> None:
    """Names that differ go on to differ, and the same name stays the same."""
    source = "".join(f"{name} = {k}\nprint({name}, {value} if 0 else 1)\n"
                     for k, (name, value) in enumerate(pairs))  # fmt: skip
    made, names = shorten({"a.py": source})
    assert len(set(names.values())) == len(names)

    def of(text: str) -> list[str]:
        return [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline)]

    assert [names.get(each, each) for each in of(source)] == of(made["a.py"])


def test_the_whole_firmware_keeps_its_shape(root: Path) -> None:
    folders = ("firmware", "common")
    paths = [path for folder in folders for path in (root / folder).rglob("*.py")]
    sources = {
        str(path.relative_to(root)): path.read_text("utf-8")
        for path in paths
        if "tools" not in path.parts
    }
    made, names = shorten(sources)
    back = {short: name for name, short in names.items()}
    assert len(back) == len(names) > 900
    for path, source in sources.items():
        assert [type(n) for n in ast.walk(ast.parse(made[path]))] == [
            type(n) for n in ast.walk(ast.parse(source))
        ], path
