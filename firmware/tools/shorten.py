r"""Short names for what nobody outside an image names, in all its files together.

A compiled file carries the name of each attribute, function and argument that it uses. What begins
with one underscore, or is of words and in no file that a maker's own files call (``MAKERS``),
gets a shorter name: the same one in every file, the most frequent the shortest. Names of the
interpreter (``sys.implementation._mpy``) stay, as do those of modules and those that some text
names.

Arguments get names of one letter within their function, but for those that any call of the image
names (``delay_s=5``), and those of files that a maker's own files call (``MAKERS``).

    >>> shorten({"a.py": "class A:\n    _count_of_all = 1"})
    ({'a.py': 'class A:\n    _a = 1'}, {'_count_of_all': '_a'})
"""

import ast
import io
import re
import token
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from string import ascii_letters, digits

# What a board file, a cell profile or another AFE of a maker's own may call; and the settings,
# which the desk has judged by the firmware on a board (``echelon provision usb``).
MAKERS = ("common/", "firmware/afe/", "firmware/board", "firmware/fram.py", "firmware/settings.py")

_PRIVATE = re.compile(r"_[A-Za-z0-9][A-Za-z0-9_]*")
_OF_WORDS = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")


def shorten(sources: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The same files (path: source), and what each name has become."""
    bound: set[str] = set()
    stay: set[str] = set()
    frequency: Counter[str] = Counter()
    for path, source in sources.items():
        tree = ast.parse(source, path)
        bound.update(_bound(tree))
        stay.update(_in_texts(tree), re.findall(r"\w+", path))
        ours = [found.string for found in _names(source)]
        frequency.update(ours)
        if path.startswith(MAKERS):
            stay.update(name for name in ours if name[0] != "_")
    taken = set(frequency)
    short = (name for name in _short_names() if name not in taken)
    names = {
        name: next(short) if len(name) > 3 else name
        for name, _times in sorted(frequency.items(), key=lambda item: (-item[1], item[0]))
        if name in bound - stay
    }
    made = {path: _renamed(source, names) for path, source in sources.items()}
    called = {
        node.arg
        for source in made.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.keyword) and node.arg
    }
    for path, source in made.items():
        if not path.startswith(MAKERS):
            made[path] = _with_short_arguments(source, called)
    return made, names


def _short_names() -> Iterator[str]:
    length = 0
    while True:
        length += 1
        for letters in product(ascii_letters + digits, repeat=length):
            yield "_" + "".join(letters)


def _names(source: str) -> "Iterator[tokenize.TokenInfo]":
    for found in tokenize.generate_tokens(io.StringIO(source).readline):
        name = found.string
        if found.type == token.NAME and (_PRIVATE.fullmatch(name) or _OF_WORDS.fullmatch(name)):
            yield found


def _bound(tree: ast.Module) -> Iterator[str]:
    """Every name that a file gives something: what no file binds is the interpreter's."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) if name[0] == "_":
                yield name  # any other may be a local name for what is the interpreter's
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.arg(arg=name) | ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name


def _in_texts(tree: ast.Module) -> Iterator[str]:
    """Names in texts: a board may ask an object for them, or a file for what it has."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)):
                yield from re.findall(r"\w+", text)
            case ast.JoinedStr():
                yield from re.findall(r"\w+", ast.unparse(node))


def _renamed(source: str, names: Mapping[str, str]) -> str:
    return _written(
        source, [(found, names.get(found.string, found.string)) for found in _names(source)]
    )


def _with_short_arguments(source: str, called: "set[str]") -> str:
    """``called``: names that a call gives somewhere, which stay."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    taken = {found.string for found in tokens}
    letters = (letter for letter in ascii_letters if letter not in taken)
    short: dict[str, str] = {}  # the same in all functions of a file: they may lie in each other
    where: dict[str, set[int]] = {}  # lines of the functions that have it
    tree = ast.parse(source)
    stay = {"self", *called, *_defined(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            a = node.args
            for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs):
                name = arg.arg
                if len(name) < 3 or name in stay or name in _defaults(a):
                    continue
                if name not in short:
                    short[name] = next(letters, name)
                where.setdefault(name, set()).update(
                    range(node.lineno, (node.end_lineno or node.lineno) + 1)
                )
    return _written(
        source,
        [
            (found, short[found.string])
            for before, found in pairwise(tokens)
            if found.type == token.NAME
            and before.string != "."
            and found.start[0] in where.get(found.string, ())
        ],
    )


def _defined(tree: ast.Module) -> Iterator[str]:
    """Names of functions and classes: one may have an argument called as itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def _defaults(arguments: ast.arguments) -> "set[str]":
    """Names in default values: they are of another function, or of none."""
    values = [value for value in (*arguments.defaults, *arguments.kw_defaults) if value]
    return {n.id for value in values for n in ast.walk(value) if isinstance(n, ast.Name)}


def _written(source: str, changes: "list[tuple[tokenize.TokenInfo, str]]") -> str:
    """The source with other words in the places of some tokens, which are in order."""
    lines = source.splitlines(keepends=True)
    for found, new in reversed(changes):
        row, column = found.start
        line = lines[row - 1]
        end = column + len(found.string)
        lines[row - 1] = line[:column] + new + line[end:]
    return "".join(lines)
