"""The firmware's source as boards need it: values for names that never change, no idle imports.

``mpy-cross`` compiles one file at a time. It cannot know what a constant of another file is, nor
that an import only serves a type. ``lean`` reads all files of an image together and

* writes the number where a constant of a module (``NAME = const(...)``, ``NAME = 7``) or a member
  of an enumeration (``common.codes``) is named, and leaves out those that are named no more;
* does the same with texts, fractions and tuples of such that only one place names;
* leaves out imports that only annotations, ``if TYPE_CHECKING`` or such constants had used;
* leaves out a file that nothing imports any more.

Nothing else changes: no other name, no statement, no order. Where it is not certain what a name
stands for it says so (``LeanError``) instead of guessing. What a file that is not of the image may
import (a cell profile that a board brings) is ``kept``.

    >>> lean({"a.py": "LIMIT = const(2)", "b.py": "from a import LIMIT; print(LIMIT)"})
    {'b.py': '; print(2)'}
"""

import ast
import functools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

CODES = "common/codes.py"
_CODES = "common.codes"
_CONST = "common.mp"  # mpy-cross knows ``const`` without an import

_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}

Numbers = dict[str, int]
Constants = dict[str, str]  # as they are written in source
Edits = dict[ast.stmt | ast.expr, str]  # what is written in the place of a part of the source


class LeanError(ValueError):
    """A name of which it is not certain what it stands for; the message says where."""


def lean(sources: Mapping[str, str], kept: frozenset[str] = frozenset()) -> dict[str, str]:
    """The files (path: source) of an image, without what a board has no use for.

    ``kept`` names enumerations that stay, as ``common.codes.NAME``.
    """
    trees = {path: ast.parse(source, path) for path, source in sources.items()}
    constants = {_module(path): _constants(tree) for path, tree in trees.items()}
    if CODES in trees:
        classes = [node for node in trees[CODES].body if isinstance(node, ast.ClassDef)]
        constants |= {f"{_CODES}.{node.name}": _constants(node) for node in classes}
    named = {path: _named(path, tree, constants) for path, tree in trees.items()}
    places = Counter(constant for found in named.values() for constant in found.values())
    elsewhere = {
        name for path, tree in trees.items() for name in _named_otherwise(tree, named[path])
    }

    def is_written_out(module: str, name: str) -> bool:
        is_number = constants[module][name].lstrip("(-").rstrip(")").isdigit()
        return is_number or (places[module, name] == 1 and name not in elsewhere)

    edits: dict[str, Edits] = {}
    before: set[str] = set()  # modules that some file imports, and module.name for its names
    after = {*kept, *(name.rpartition(".")[0] for name in kept)}
    for path, tree in trees.items():
        module = _module(path)
        edits[path] = {
            node: constants[where][name]
            for node, (where, name) in named[path].items()
            if is_written_out(where, name)
        }
        for node in tree.body:
            name = _target(node)
            is_idle = (
                name in constants[module]
                and name not in elsewhere
                and is_written_out(module, name)
            )
            if is_idle or _is_for_types(node):
                edits[path][node] = ""
        before.update(_imported(_nodes(tree)))
        edits[path].update(_idle_imports(tree, edits[path]))
        after.update(_imported(_walk(tree, edits[path])))
        after.update(_imported(ast.parse(new).body[0] for new in edits[path].values() if new))
    for node in trees[CODES].body if CODES in trees else ():
        if f"{_CODES}.{getattr(node, 'name', '')}" not in after:
            edits[CODES][node] = ""
    return {
        path: _edited(source, edits[path])
        for path, source in sources.items()
        if path.endswith("__init__.py") or _module(path) not in before - after
    }


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _target(node: ast.stmt) -> str:
    """The name that a statement ``NAME = ...`` gives a value; nothing for all else."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
    return ""


def _is_for_types(node: ast.stmt) -> bool:
    test = node.test if isinstance(node, ast.If) else None
    return _target(node) == "TYPE_CHECKING" or (
        isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"
    )


def _constants(tree: ast.Module | ast.ClassDef) -> Constants:
    """The public constants. ``mpy-cross`` sees to a file's private ones."""
    found: Constants = {}
    numbers: Numbers = {}
    for node in tree.body:
        name = _target(node)
        if isinstance(node, ast.Assign) and name.isupper():
            number = _number(node.value, numbers)
            if number is not None:
                numbers[name] = number
            value = _literal(node.value, numbers)
            if value is not None and name[0] != "_":
                found[name] = value
    return found


def _literal(node: ast.expr, known: Numbers) -> str | None:
    """A number, text or tuple of such as it is written; ``None`` for all else."""
    number = _number(node, known)
    if number is not None:
        return str(number) if number >= 0 else f"({number})"
    match node:
        case ast.Call(func=ast.Name(id="const"), args=[value]):
            return _literal(value, known)
        case ast.Constant(value=str() | bytes() | float()):
            return ast.unparse(node)
        case ast.Tuple(elts=elements):
            parts = [_literal(part, known) for part in elements]
            if all(parts):
                return f"({''.join(f'{part}, ' for part in parts)})"
    return None


def _number(node: ast.expr, known: Numbers) -> int | None:
    """What a whole number, a sum of some, or ``const`` of it comes to; ``None`` for all else."""
    match node:
        case ast.Call(func=ast.Name(id="const"), args=[value]):
            return _number(value, known)
        case ast.Constant(value=int(number)) if type(number) is int:
            return number
        case ast.Name(id=name):
            return known.get(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            whole = _number(operand, known)
            return None if whole is None else -whole
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            one, other = _number(left, known), _number(right, known)
            if one is not None and other is not None:
                return _OPERATIONS[type(op)](one, other)
    return None


def _named(
    path: str, tree: ast.Module, constants: Mapping[str, Constants]
) -> dict[ast.expr, tuple[str, str]]:
    """Where a file names constants, its own or another's: their module (or class) and name."""
    own = _module(path)
    names = {name: (own, name) for name in constants[own]}  # by the names they have here
    imported: set[str] = set()
    holders: dict[str, str] = {}  # modules and enumerations, whose attributes are constants
    for node in _nodes(tree):
        if isinstance(node, ast.Import) and any(alias.name in constants for alias in node.names):
            raise LeanError(f"{path}:{node.lineno}: say from ... import where constants may be")
        if isinstance(node, ast.ImportFrom):
            module = str(node.module)
            for alias in node.names:
                here = alias.asname or alias.name
                whole = f"{module}.{alias.name}"
                if here == "*" and module in constants:
                    raise LeanError(f"{path}:{node.lineno}: * hides what is imported")
                if whole in constants:
                    holders[here] = whole
                elif alias.name in constants.get(module, {}):
                    names[here] = (module, alias.name)
                    imported.add(here)
    bound = list(_bound(tree))
    for name in bound:
        is_own = name in constants[own] and bound.count(name) > 1
        if name in imported or name in holders or is_own:
            raise LeanError(f"{path}: {name} is a constant and something else")
    found: dict[ast.expr, tuple[str, str]] = {}
    for node in _walk(tree, {}):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name in names:
                found[node] = names[name]
            case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=context):
                if attribute in constants.get(holders.get(name, ""), {}):
                    if not isinstance(context, ast.Load):
                        raise LeanError(f"{path}:{node.lineno}: {attribute} is a constant")
                    found[node] = (holders[name], attribute)
            case ast.JoinedStr():  # the parts of an f-string do not tell where they stand
                inside = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                if inside & (set(names) | set(holders)):
                    raise LeanError(f"{path}:{node.lineno}: a constant in an f-string")
    return found


def _named_otherwise(tree: ast.Module, named: Mapping[ast.expr, tuple[str, str]]) -> Iterator[str]:
    """Names by which an object that is not known for a module may be asked, or a text asks."""
    for node in _nodes(tree):
        if isinstance(node, ast.Attribute) and node not in named:
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _bound(tree: ast.Module) -> Iterator[str]:
    """Every name that a file gives a value in another way than by importing it."""
    for node in _nodes(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.arg(arg=name) | ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.ExceptHandler(name=str(name)):
                yield name


def _idle_imports(tree: ast.Module, edits: Edits) -> Edits:
    """What becomes of the imports of which names are used no more."""
    left_over = list(_walk(tree, edits))
    used = {node.id for node in left_over if isinstance(node, ast.Name)}
    found: Edits = {}
    for node in left_over:
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [
                alias for alias in node.names
                if (alias.asname or alias.name.split(".")[0]) in used
            ]  # fmt: skip
            if isinstance(node, ast.ImportFrom) and node.module == _CONST:
                names = []
            if not names:
                found[node] = "" if node in tree.body else "pass"
            elif len(names) < len(node.names):
                left = ast.copy_location(ast.Import(names), node)
                if isinstance(node, ast.ImportFrom):
                    left = ast.ImportFrom(node.module, names, 0)  # type: ignore[assignment]
                found[node] = ast.unparse(left)
    return found


@functools.lru_cache(maxsize=256)
def _nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


def _walk(tree: ast.AST, edits: Edits) -> Iterator[ast.AST]:
    """The parts of a file that a board runs: no annotations, nothing that ``edits`` replace."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST) and node not in edits:
                yield node
                yield from _walk(node, edits)


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _edited(source: str, edits: Edits) -> str:
    text = source.encode()  # ast counts columns in bytes
    lines = [0]
    for line in text.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    spans = []
    for node, new in edits.items():
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = lines[node.lineno - 1] + node.col_offset
        spans.append((start, lines[node.end_lineno - 1] + node.end_col_offset, new))
    done = len(text)
    parts = []
    for start, end, new in sorted(spans, key=lambda span: (span[1], -span[0]), reverse=True):
        if end <= done:  # else it lies in a part that is replaced as a whole
            parts += [text[end:done], new.encode()]
            done = start
    return b"".join(reversed([*parts, text[:done]])).decode()
