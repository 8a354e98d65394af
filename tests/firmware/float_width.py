"""Runs a script on CPython with the firmware's floats of 32 bits, or truly of 64.

    python float_width.py 32|64 SCRIPT [ARGUMENT ...]

CPython calculates in 64 bits but the firmware keeps its state in arrays of 32-bit floats: left
alone it is neither. What the script imports of ``firmware`` and ``common`` is rewritten on its way
in. With 64 every ``array("f")`` is one of doubles. With 32 every literal, every result of an
operator and of ``math`` and every integer that meets a float is rounded to 32 bits. A double has
more than twice the digits, so rounding its result gives what 32-bit hardware gives. Comparisons
of integers with floats are left as they are.
"""

import ast
import builtins
import importlib.abc
import importlib.machinery
import runpy
import sys
from array import array

_ROUNDED = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_cell = array("f", [0.0])


def narrow(value: float) -> float:
    """``value`` as 32 bits hold it."""
    _cell[0] = value
    return _cell[0]


def _add(a, b):
    result = a + b
    return narrow(narrow(a) + narrow(b)) if type(result) is float else result


def _sub(a, b):
    result = a - b
    return narrow(narrow(a) - narrow(b)) if type(result) is float else result


def _mul(a, b):
    result = a * b
    return narrow(narrow(a) * narrow(b)) if type(result) is float else result


def _div(a, b):
    return narrow(narrow(a) / narrow(b))


def _pow(a, b):
    result = a**b
    return narrow(narrow(a) ** narrow(b)) if type(result) is float else result


def _math(result):
    return narrow(result) if type(result) is float else result


def _wide(_code, values):
    return array("d", array("f", values))


HELPERS = {"+": _add, "-": _sub, "*": _mul, "/": _div, "**": _pow, "math": _math, "array": _wide}
_PREFIX = "_float_width_"
NAMES = {key: _PREFIX + function.__name__ for key, function in HELPERS.items()}


def _call(key: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(NAMES[key], ast.Load()), list(arguments), [])


class Narrow(ast.NodeTransformer):
    """Rounds whatever may be a float to 32 bits."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(narrow(node.value)) if isinstance(node.value, float) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        sign = _ROUNDED.get(type(node.op))
        return node if sign is None else _call(sign, node.left, node.right)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        sign = _ROUNDED.get(type(node.op))
        if sign is None:
            return self.generic_visit(node)
        source = ast.parse(ast.unparse(node.target), mode="eval").body
        value = _call(sign, self.visit(source), self.visit(node.value))
        return ast.Assign([self.visit(node.target)], value)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = ast.unparse(node.func)
        return _call("math", node) if called.startswith("math.") or called == "float" else node


class Widen(ast.NodeTransformer):
    """Makes every array of 32-bit floats one of 64."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        floats = isinstance(node.func, ast.Name) and node.func.id == "array"
        if floats and isinstance(node.args[0], ast.Constant) and node.args[0].value == "f":
            return _call("array", *node.args)
        return node


class _Loader(importlib.machinery.SourceFileLoader):
    transformer: ast.NodeTransformer

    def get_code(self, fullname: str):
        path = self.get_filename(fullname)
        tree = self.transformer.visit(ast.parse(self.get_data(path)))
        return compile(ast.fix_missing_locations(tree), path, "exec")


class Finder(importlib.abc.MetaPathFinder):
    """Finds ``firmware`` and ``common`` before anyone else does."""

    def __init__(self, transformer: ast.NodeTransformer) -> None:
        self._loader = type("Loader", (_Loader,), {"transformer": transformer})

    def find_spec(self, fullname, path, target=None):
        if fullname.split(".")[0] not in {"firmware", "common"}:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = self._loader(fullname, spec.origin)
        return spec


def main() -> None:
    width, script, *arguments = sys.argv[1:]
    for key, function in HELPERS.items():
        setattr(builtins, NAMES[key], function)
    sys.meta_path.insert(0, Finder({"32": Narrow, "64": Widen}[width]()))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
