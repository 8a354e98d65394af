"""Mutants that mutmut does not make: of numbers outside of functions, and of table rows.

* A number of an assignment outside of functions: one more, one less; a mask: each of its bits.
* A column of a row of the diagnosis table: one more, one less; the switches it forbids: each other
  set; what it looks at, and whose fault it is: the next.

A constant that another one is made of when a module is imported is not followed there.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from common.codes import Fault, names
from firmware.diagnosis import table
from firmware.settings import Settings

ROOT = Path(__file__).parents[2]
COLUMNS = (
    "fault", "what", "warn", "cut", "release", "forbids", "latch", "up", "down", "delay_s",
)  # fmt: skip
_MASK_BITS = 25
# The table of any pack, with one number of one row moved or put in its place.
_ROW = """(lambda make: lambda s: [
    row[:{column}] + ({new},) + row[{after}:] if i == {i} else row for i, row in enumerate(make(s))
])(table)"""

Change = tuple[str, str, dict[str, str]]  # where, "old -> new", and how


def of(module: str) -> Iterator[Change]:
    """Every change of one module (its path from the root)."""
    text = (ROOT / module).read_text(encoding="utf-8")
    dotted = module[:-3].replace("/", ".")
    for target, value in _assignments(ast.parse(text)):
        yield from _of_numbers(dotted, target, ast.get_source_segment(text, value), value)
    if module == "firmware/diagnosis.py":
        yield from _of_rows(dotted)


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield ast.unparse(node.targets[0]), node.value
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.Assign):
                    yield f"{node.name}.{ast.unparse(inner.targets[0])}", inner.value


def _of_numbers(module: str, target: str, text: str, value: ast.expr) -> Iterator[Change]:
    for number in ast.walk(value):
        if not isinstance(number, ast.Constant) or type(number.value) is not int:
            continue
        old = number.value
        others = [old + 1, old - 1]
        line = text.splitlines()[number.lineno - value.lineno]
        is_mask = "0x" in line
        if is_mask:
            others = [old ^ 1 << bit for bit in range(_MASK_BITS)]
        for other in others:
            number.value = other
            code = ast.unparse(value)
            number.value = old
            shown = f"{old:#x} -> {other:#x}" if is_mask else f"{old} -> {other}"
            if isinstance(value, ast.Tuple) and isinstance(value.elts[0], ast.Tuple):
                shown = f"{ast.literal_eval(line.strip(' ,()').split(',')[0])}: {shown}"
            yield target, shown, {"module": module, "target": target, "code": code}


def _of_rows(module: str) -> Iterator[Change]:
    """For a pack of 4 NMC cells of 10 Ah."""
    for i, row in enumerate(table(Settings("TEST", 4, "nmc", 10000))):
        for column, name in enumerate(COLUMNS):
            old = row[column]
            others = [old + 1, old - 1]
            if name == "forbids":
                others = [each for each in range(4) if each != old]
            elif name in ("fault", "what"):
                others = [(old + 1) % 30 if name == "fault" else old + 1]
            elif name in ("latch", "delay_s") and not old:
                others = [1]
            for other in others:
                moved = name in ("warn", "cut", "release")  # so that it holds for any pack
                new = f"row[{column}] + {other - old}" if moved else str(other)
                code = _ROW.format(i=i, column=column, after=column + 1, new=new)
                place = f"row {i} {names(Fault)[row[0]]}"
                how = {"module": module, "target": "table", "code": code}
                how["first"] = names(Fault)[row[0]]
                yield place, f"{name} {old} -> {other}", how
