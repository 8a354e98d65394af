r"""Short names for private ones, in all files of an image together.

A compiled file carries the name of each attribute, function and argument that it uses. What begins
with one underscore is no concern of anyone outside the image, so it gets a shorter name there: the
same one in every file, the most frequent the shortest. Names of the interpreter
(``sys.implementation._mpy``) stay, as do those that some text names.

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
from itertools import count, product
from string import ascii_letters, digits

_PRIVATE = re.compile(r"_[A-Za-z0-9][A-Za-z0-9_]*")


def shorten(sources: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The same files (path: source), and what each name has become."""
    bound: set[str] = set()
    texts: set[str] = set()
    frequency: Counter[str] = Counter()
    for path, source in sources.items():
        tree = ast.parse(source, path)
        bound.update(_bound(tree))
        texts.update(_in_texts(tree))
        frequency.update(found.string for found in _private(source))
    taken = set(frequency)
    short = (name for name in _short_names() if name not in taken)
    names = {
        name: next(short) if len(name) > 3 else name
        for name, _times in sorted(frequency.items(), key=lambda item: (-item[1], item[0]))
        if name in bound - texts
    }
    return {path: _renamed(source, names) for path, source in sources.items()}, names


def _short_names() -> Iterator[str]:
    for length in count(1):
        for letters in product(ascii_letters + digits, repeat=length):
            yield "_" + "".join(letters)


def _private(source: str) -> "Iterator[tokenize.TokenInfo]":
    for found in tokenize.generate_tokens(io.StringIO(source).readline):
        if found.type == token.NAME and _PRIVATE.fullmatch(found.string):
            yield found


def _bound(tree: ast.Module) -> Iterator[str]:
    """Every name that a file gives something: what no file binds is the interpreter's."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.arg(arg=name) | ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name


def _in_texts(tree: ast.Module) -> Iterator[str]:
    """Names in texts: a board may ask an object for them, or a file for what it has."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)):
                yield from _PRIVATE.findall(text)
            case ast.JoinedStr():
                yield from _PRIVATE.findall(ast.unparse(node))


def _renamed(source: str, names: Mapping[str, str]) -> str:
    lines = source.splitlines(keepends=True)
    for found in reversed(list(_private(source))):
        row, column = found.start
        line = lines[row - 1]
        new = names.get(found.string, found.string)
        lines[row - 1] = line[:column] + new + line[column + len(found.string) :]
    return "".join(lines)
