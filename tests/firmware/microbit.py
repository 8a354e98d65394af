"""An emulated micro:bit, and the firmware's own source made small enough for its heap.

The micro:bit is the smallest board that can run the core of the estimators: a Cortex-M0 with
MicroPython 1.9.2, floats of 30 bits and 9.4 kB of heap. QEMU emulates it; its REPL is on
standard input and output. The board compiles what it is sent, so that the compiler must fit the
heap as well as the code: source is sent one function at a time.

``reduced`` makes these pieces from a module's source by ``ast`` and touches no algorithm: it drops
docstrings, comments and annotations and replaces the module's numeric constants and the members
of ``common.codes`` by their values, as the compiler does with ``const``. ``Names.shorten`` then
gives every name of ours a cheap one, the same everywhere.
"""

import array
import ast
import builtins
import gc
import keyword
import math
import os
import select
import shutil
import string
import subprocess
import time
from pathlib import Path

import common.codes

ROOT = Path(__file__).parents[2]
FIRMWARE = Path("/usr/share/firmware-microbit-micropython/firmware.hex")
QEMU = "qemu-system-arm"
_SECONDS = 30.0  # the board is silent for longer only when something is wrong
_LETTERS = list(string.ascii_lowercase)
_CHUNK = 32  # bytes under way at a time: the board's receive buffer has 64


def missing() -> str:
    """What is not there for an emulated micro:bit; empty when all is."""
    if not shutil.which(QEMU):
        return f"no {QEMU} (apt install {QEMU})"
    if not FIRMWARE.exists():
        return "no MicroPython for the micro:bit (apt install firmware-microbit-micropython)"
    return ""


class BoardError(Exception):
    """What the board printed as a traceback."""


class Repl:
    """A board's REPL over the pipes of its emulator; a context manager.

    Code goes by paste mode, which echoes: what arrived is seen, and the board is never sent more
    than it has room for.
    """

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [QEMU, "-M", "microbit", "-nographic", "-serial", "stdio", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self.process.stdin
        assert self.process.stdout
        self._in, self._out = self.process.stdin, self.process.stdout

    def __enter__(self) -> "Repl":
        try:
            self._until(b">>> ")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        self._in.close()
        self._out.close()

    def run(self, source: str, seconds: float = _SECONDS) -> str:
        """What ``source`` prints, within ``seconds``.

        ``BoardError``, with the board's traceback, where it fails.
        """
        self._in.write(b"\x05")
        self._until(b"=== ")
        for line in source.encode().split(b"\n"):
            for at in range(0, len(line), _CHUNK):
                part = line[at : at + _CHUNK]
                self._in.write(part)
                self._until(part)
            self._in.write(b"\r")
            self._until(b"\r\n=== ")
        self._in.write(b"\x04")
        printed = (
            self._until(b">>> ", seconds)[: -len(b">>> ")].decode().replace("\r\n", "\n").strip()
        )
        if "Error:" in printed or "Traceback " in printed:
            raise BoardError(f"{printed} in {source[:60]!r}")
        return printed

    def _until(self, end: bytes, seconds: float = _SECONDS) -> bytes:
        """What the board sends up to ``end``."""
        data = b""
        late = time.monotonic() + seconds
        while not data.endswith(end):
            ready, _, _ = select.select([self._out], [], [], max(0.0, late - time.monotonic()))
            assert ready, f"the board stopped answering after {data!r}, without {end!r}"
            more = os.read(self._out.fileno(), 4096)
            assert more, f"the emulator ended after {data!r}"
            data += more
        return data


def names_in_flash(board: Repl) -> "list[str]":
    """Some hundred names that every micro:bit knows: of pictures, pins and tunes."""
    names = []
    for module, owner in (("microbit", "microbit.Image"), ("microbit",) * 2, ("music",) * 2):
        names += board.run(f"import {module}\nprint(' '.join(dir({owner})))\ndel {module}").split()
    return [name for name in names if name[0] != "_"]


def microbit() -> Repl:
    """A micro:bit as it comes: 16 kB of RAM."""
    return Repl("-monitor", "none", "-device", f"loader,file={FIRMWARE}")


# --- source, reduced -------------------------------------------------------------------


def reduced(module: str, *names: str) -> "list[str]":
    """Pieces of a module's source that make ``names`` on the board: classes, then functions.

    ``module`` is a file relative to the project. A name is a function, a class with all its
    methods or ``Class.method``; a class of which only methods are named has no others.
    """
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    reduce = _Reduce(tree)
    wanted = set(names)
    pieces = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in wanted:
            wanted.discard(node.name)
            pieces.append(ast.unparse(reduce.visit(node)))
        elif isinstance(node, ast.ClassDef):
            own = [m for m in node.body if isinstance(m, ast.FunctionDef)]
            chosen = [
                m for m in own if not wanted.isdisjoint((node.name, f"{node.name}.{m.name}"))
            ]
            if chosen:
                pieces.append(f"class {node.name}: pass")
            for method in chosen:
                into = f"{node.name}.{method.name}"
                method.name = "_"
                pieces.append(f"{ast.unparse(reduce.visit(method))}\n{into} = _\ndel _")
                wanted.discard(into)
            wanted.discard(node.name)
    assert not wanted, f"{module} has no {', '.join(sorted(wanted))}"
    return pieces


class _Reduce(ast.NodeTransformer):
    """Drops and replaces, within a function, what the board does not need of a module."""

    def __init__(self, module: ast.Module) -> None:
        self._numbers = {}
        for node in module.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                value = node.value
                if isinstance(value, ast.Call) and ast.unparse(value.func) == "const":
                    value = value.args[0]
                if isinstance(value, (ast.Constant, ast.UnaryOp)):
                    self._numbers[node.targets[0].id] = value

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        assert not node.decorator_list, f"{node.name} has a decorator"
        node.returns = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._numbers.get(node.id, node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and hasattr(common.codes, node.value.id):
            return ast.Constant(getattr(getattr(common.codes, node.value.id), node.attr))
        return self.generic_visit(node)


class Names(ast.NodeTransformer):
    """One short name for each long one, in all that is sent to a board.

    A name that the board does not know costs it some bytes for ever. Attributes and globals
    therefore take ``known``: names it has in its flash, whatever they mean there. The locals of
    each function are a..z.
    """

    def __init__(self, known: "list[str]") -> None:
        self._known = known
        used = [dir(module) for module in (builtins, math, gc, array, str, list)]
        self._kept = {name for names in used for name in names}
        self._kept |= {"micropython", "opt_level", "mem_free", "math", "gc", "__init__", "_"}
        self._globals: dict[str, str] = {}
        self._attributes: dict[str, str] = {}
        self._locals: dict[str, str] = {}

    def shorten(self, source: str) -> str:
        """The same code with short names, a space for each level of indentation."""
        lines = ast.unparse(self.visit(ast.parse(source))).splitlines()
        bare = [line.lstrip() for line in lines]
        return "\n".join(
            " " * ((len(line) - len(text)) // 4) + text
            for line, text in zip(lines, bare, strict=True)
        )

    def _of(self, name: str, names: "dict[str, str]", letters: "list[str]") -> str:
        if name in self._kept:
            return name
        if name not in names:
            taken = self._kept | set(keyword.kwlist) | set(names.values())
            names[name] = next(short for short in letters if short not in taken)
        return names[name]

    def _local(self, name: str) -> str:
        return self._of(name, self._locals, _LETTERS)

    def _global(self, name: str) -> str:
        return self._of(name, self._globals, self._known)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(
            self._locals[node.id] if node.id in self._locals else self._global(node.id)
        )

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.Attribute(
            self.visit(node.value), self._of(node.attr, self._attributes, self._known)
        )

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._locals.clear()
        for inner in ast.walk(node):
            if isinstance(inner, ast.arg):
                inner.arg = self._local(inner.arg)
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                self._local(inner.id)
        self.generic_visit(node)
        self._locals.clear()
        node.name = self._global(node.name)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._global(node.name)
        return node
