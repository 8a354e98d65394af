"""A configuration's faults in one line each: file, place, key, value, way out."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_KINDS = {
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a number",
    "finite_number": "is not a number",
    "string_type": "is not a text in quotes",
    "bool_type": "is neither true nor false",
    "path_type": "is not a path in quotes",
    "list_type": "is not a list of tables",
    "model_type": "is not a table",
    "dict_type": "is not a table",
    "string_too_short": "is empty",
}
_TABLE_KINDS = {"list_type", "model_type", "dict_type"}
_OWN = {"baudrate", "host", "port", "topic", "word"}  # these messages carry their way out already
_LONGEST_VALUE = 60


def syntax_line(name: str, message: str) -> str:
    """The line for a file that is not TOML."""
    found = re.fullmatch(r"(.*) \(at (.*)\)", message)
    reason, place = found.groups() if found else (message, "end of document")
    return f"{name}: {place}: not valid TOML: {reason[:1].lower()}{reason[1:]} (mend that line)"


def lines(
    name: str, raw: dict[str, Any], root: type[BaseModel], error: ValidationError
) -> list[str]:
    """One line for every finding of pydantic's about ``raw``."""
    return [f"{name}: {_line(raw, root, finding)}" for finding in error.errors()]


def _line(raw: dict[str, Any], root: type[BaseModel], finding: ErrorDetails) -> str:
    loc = finding["loc"]
    if isinstance(loc[-1], int):  # an entry of a list that ought to be a table
        return f"{_place(raw, loc)}: is not a table (write {_header(loc)})"
    place = _place(raw, loc[:-1])
    return (f"{place}: " if place else "") + _fault(root, loc[-1], finding)


def _fault(root: type[BaseModel], key: str, finding: ErrorDetails) -> str:
    loc, kind = finding["loc"], finding["type"]
    table, field = _field(root, loc)
    if kind == "extra_forbidden":
        return f"unknown key {_value(key)} {_did_you_mean(key, table)}"
    if kind == "missing":
        return f'key "{key}" is missing (add {_example(loc, field)})'
    if kind == "too_short":
        return f"no {key} is named (add a table {_header(loc)})"
    return f"{key} {_value(finding['input'])} {_problem(finding, field)}"


def _problem(finding: ErrorDetails, field: FieldInfo | None) -> str:
    """What is wrong with a value, and what would be right."""
    loc, kind, context = finding["loc"], finding["type"], finding.get("ctx", {})
    if kind in _OWN:
        return finding["msg"]
    if kind == "literal_error":
        return f"is not one of {context['expected']}"
    if kind == "greater_than_equal":
        problem = f"is below {context['ge']}"
    elif kind == "less_than_equal":
        problem = f"is above {context['le']}"
    else:
        problem = _KINDS.get(kind, finding["msg"][:1].lower() + finding["msg"][1:])
    if kind in _TABLE_KINDS:
        return f"{problem} (write {_example(loc, field)})"
    return f"{problem} (try {_example(loc, field)})"


def _place(raw: dict[str, Any], loc: tuple[int | str, ...]) -> str:
    """``bus "bay": pack 2`` for ``("bus", 0, "pack", 1)``; a bus without a name is numbered."""
    parts: list[str] = []
    node: Any = raw
    for step in loc:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            node = None
        if isinstance(step, int):
            named = node.get("name") if isinstance(node, dict) else None
            parts[-1] += f" {_value(named)}" if isinstance(named, str) else f" {step + 1}"
        else:
            parts.append(step)
    return ": ".join(parts)


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _tables(inner)


def _field(
    root: type[BaseModel], loc: tuple[int | str, ...]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """The table that ``loc`` points into, and the field there, when there is one."""
    table, field = root, None
    for step in loc:
        if isinstance(step, int):
            continue
        if field is not None:
            table = next(_tables(field.annotation), table)
        field = table.model_fields.get(step)
    return table, field


def _did_you_mean(key: str, table: type[BaseModel]) -> str:
    near = difflib.get_close_matches(key, table.model_fields, n=1)
    if near:
        return f'(did you mean "{near[0]}"?)'
    return f"(known here: {', '.join(table.model_fields)})"


def _header(loc: tuple[int | str, ...], brackets: str = "[[]]") -> str:
    half = len(brackets) // 2
    path = ".".join(step for step in loc if isinstance(step, str))
    return brackets[:half] + path + brackets[half:]


def _example(loc: tuple[int | str, ...], field: FieldInfo | None) -> str:
    """What would be right at ``loc``: ``port = 1883`` or the header of a table."""
    key = loc[-1]
    if field is None:
        return f"{key} = ..."
    if any(_tables(field.annotation)):
        return _header(loc, "[[]]" if "list" in str(field.annotation) else "[]")
    examples = field.examples or [field.default]
    return f"{key} = {_value(examples[0])}"


def _value(value: Any) -> str:
    """A value as TOML would write it, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
