"""A model's registers as a dictionary: what Linux does with the answers of a board.

``decode`` turns the bytes of a whole model into a dictionary with a single ``struct`` call;
``Layout.decode`` leads here. Boards serve numbers and do not load this file.

    >>> snapshot = RegisterMap(16).block(models.SNAPSHOT)
    >>> snapshot.set("A", -1500)
    >>> decode(snapshot.layout, snapshot.bytes())["A"]
    -1.5
"""

import struct

from common import models
from common.registers import HEADER_WORDS, Layout, point_type

# "not available", by struct code; a string that is empty says the same
_NONE = {"H": 0xFFFF, "h": -0x8000, "L": 0xFFFFFFFF, "l": -0x80000000}

_prepared: dict[tuple[int, int], tuple[str, list[tuple[str, int, str]]]] = {}


def decode(layout: Layout, data: bytes | bytearray | memoryview) -> "dict":  # type: ignore[type-arg]
    """The whole model in its units; cells are a list of dictionaries under ``cells``."""
    points, cells = decode_raw(layout, data)
    _id, _name, _label, rows, group, tail = models.model(layout.id)
    of_cells = [(group[1], cell) for cell in cells] if group else []
    for table, values in [(rows + tail, points), *of_cells]:
        for name, _kind, sf, _access in table:
            value = values[name]
            power = points.get(sf) if isinstance(sf, str) else sf
            if value is not None and power:
                values[name] = round(value * 10**power, -power if power < 0 else 0)
    if group:
        points["cells"] = cells
    return points


def decode_raw(layout: Layout, data: bytes | bytearray | memoryview) -> "tuple[dict, list]":  # type: ignore[type-arg]
    """``(points, cells)`` as integers and strings; a sentinel becomes ``None``.

    ``data`` holds the whole model, ``2 * words`` bytes from ``ID``. A wrong length, id or
    ``L`` is a ``ValueError``.
    """
    if len(data) != 2 * layout.words:
        raise ValueError(
            f"model {layout.id}: {len(data)} bytes where {2 * layout.words} are expected"
        )
    key = (layout.id, layout.n_cells)
    if key not in _prepared:
        _prepared[key] = _prepare(layout)
    structure, fields = _prepared[key]
    values = struct.unpack(structure, data)
    if values[0] != layout.id or values[1] != layout.words - HEADER_WORDS:
        raise ValueError(
            f"model {layout.id} of {layout.words - HEADER_WORDS} registers expected, "
            f"found model {values[0]} of {values[1]}"
        )
    points: dict = {}  # type: ignore[type-arg]
    cells: list = [{} for _ in range(layout.n_cells)]  # type: ignore[type-arg]
    for value, (name, cell, code) in zip(values, fields, strict=True):
        known = value.rstrip(b"\x00").decode() or None if code[-1] == "s" else value
        if known == _NONE.get(code):
            known = None
        if cell < 0:
            points[name] = known
        else:
            cells[cell][name] = known
    return points, cells


def _prepare(layout: Layout) -> tuple[str, list[tuple[str, int, str]]]:
    """``struct`` format of the model, and ``(name, cell or -1, struct code)`` of each point."""
    _id, _name, _label, rows, group, tail = models.model(layout.id)
    parts = [(rows, -1)]
    parts += [(group[1], cell) for cell in range(layout.n_cells)]
    parts += [(tail, -1)]
    fields = [
        (name, cell, point_type(kind)[2])
        for points, cell in parts
        for name, kind, _sf, _access in points
    ]
    return ">" + "".join([code for _, _, code in fields]), fields
