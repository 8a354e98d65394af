"""Registers as bytes: lay a model out, write values into an image, read them back.

On the board one ``RegisterMap`` holds the whole image; ``Block.set`` writes one point in place
and allocates nothing (an integer past 31 bits is the caller's matter). On Linux ``common.decode``
turns the bytes of a whole model into a dictionary.

``None`` is "not available" and travels as SunSpec's sentinel; so does a number that does not fit
its register, for a wrong number is worse than none.

    >>> pack = RegisterMap(16)
    >>> snapshot = pack.block(models.SNAPSHOT)
    >>> snapshot.set("A", -1500)
    >>> snapshot.layout.decode(snapshot.bytes())["A"]
    -1.5

Source: SunSpec Device Information Model Specification 1.2 (types, sentinels, model chain).
"""

import sys
from struct import pack_into

from common import models
from common.mp import const

_U16 = const(0)
_I16 = const(1)
_U32 = const(2)
_I32 = const(3)
_STR = const(4)
_PAD = const(5)

# name: (kind, registers, struct code)
_TYPES = {
    "uint16": (_U16, 1, "H"),
    "enum16": (_U16, 1, "H"),
    "bitfield16": (_U16, 1, "H"),
    "int16": (_I16, 1, "h"),
    "sunssf": (_I16, 1, "h"),
    "pad": (_PAD, 1, "h"),
    "uint32": (_U32, 2, "L"),
    "bitfield32": (_U32, 2, "L"),
    "int32": (_I32, 2, "l"),
}

_IS_BOARD = sys.implementation.name == "micropython"

HEADER_WORDS = const(2)
MAX_READ_WORDS = const(125)


def point_type(kind: str) -> "tuple":  # type: ignore[type-arg]
    """``(kind, registers, struct code)`` of a type as ``models`` writes it."""
    if kind[:7] == "string:":
        words = int(kind[7:])
        return (_STR, words, str(2 * words) + "s")
    return _TYPES[kind]


class Layout:
    """Where each point of one model stands, for a pack of ``n_cells`` cells.

    ``words`` counts registers with the two of the header; an offset counts them from ``ID``.
    """

    def __init__(self, model_id: int, n_cells: int) -> None:
        _id, _name, self.label, points, group, tail = models.model(model_id)
        self.id = model_id
        self.n_cells = n_cells if group else 0
        # Of each point, in one number for the sake of memory: offset, words, kind, writable.
        self.index: dict[str, int] = {}
        self.cell_index: dict[str, int] = {}
        self.cell_words = 0
        offset = 0
        for name, kind, _sf, access in points:
            offset = self._place(self.index, name, kind, access, offset)
        self.cells_offset = offset
        if group:
            for name, kind, _sf, access in group[1]:
                self.cell_words = self._place(self.cell_index, name, kind, access, self.cell_words)
            offset += self.cell_words * n_cells
        for name, kind, _sf, access in tail:
            offset = self._place(self.index, name, kind, access, offset)
        self.words = offset

    @staticmethod
    def _place(index: "dict[str, int]", name: str, kind: str, access: str, offset: int) -> int:
        code, words, _fmt = point_type(kind)
        if access[0] == "R" or not _IS_BOARD:
            index[name] = offset << 10 | words << 4 | code << 1 | (access in ("RW", "rw"))
        return offset + words  # type: ignore[no-any-return]

    def offset(self, name: str) -> int:
        """Registers from ``ID`` to the point ``name``."""
        return self.index[name] >> 10

    def place(self, name: str) -> "tuple[int, int, bool]":
        """Registers from ``ID`` to the point ``name``, how many it has, and whether it is RW."""
        entry = self.index[name]
        return entry >> 10, entry >> 4 & 0x3F, bool(entry & 1)

    def decode(self, data: "bytes | bytearray | memoryview") -> "dict":  # type: ignore[type-arg]
        """The whole model in its units, by ``common.decode``: on Linux, boards do not have it."""
        from common.decode import decode  # noqa: PLC0415  boards go without it

        return decode(self, data)


class Block:
    """One model inside a register image, to be written point by point."""

    def __init__(self, layout: Layout, image: bytearray, address: int, start: int) -> None:
        self.layout = layout
        self.address = address  # of the ID register
        self.start = start  # of the ID register, in bytes from the image's beginning
        self._image = image
        self._index = layout.index
        self._cell_index = layout.cell_index
        self._cells = start + 2 * layout.cells_offset
        self._cell_bytes = 2 * layout.cell_words
        # of a cell's points in their order, which a board's dict does not keep
        self._cell_kinds = bytes([e >> 1 & 7 for e in sorted(layout.cell_index.values())])
        self._cell_format = ">" + "".join(["HhLlsh"[kind] for kind in self._cell_kinds])
        self.clear()

    def clear(self) -> None:
        """Set every point to "not available"; the header says which model this is."""
        for i in range(2 * self.layout.words):  # a board has no names for some, and no signs
            self._image[self.start + i] = 0xFF
        for name in self._index:
            self.set(name, None)
        for cell in range(self.layout.n_cells):
            for name in self._cell_index:
                self.set_cell(name, cell, None)
        self.set("ID", self.layout.id)
        self.set("L", self.layout.words - HEADER_WORDS)

    def set(self, name: str, value: "int | None") -> None:
        """Write a number; ``None``, or one that does not fit, becomes "not available"."""
        entry = self._index[name]
        self._write(self.start + 2 * (entry >> 10), entry, value)

    def set_cell(self, name: str, cell: int, value: "int | None") -> None:
        """Write a number of the cell with index ``cell``, counted from 0."""
        entry = self._cell_index[name]
        self._write(self._cells + cell * self._cell_bytes + 2 * (entry >> 10), entry, value)

    def set_row(self, cell: int, row: "list[int | None]") -> None:
        """Write all numbers of the cell with index ``cell``: as ``set_cell``, nine times as fast.

        ``row`` has one for each point, in the model's order, and none any more when it is written.
        No point of a cell is an int32.
        """
        kinds = self._cell_kinds
        for i in range(len(row)):
            value = row[i]
            kind = kinds[i]
            if kind == _U16:
                if value is None or not 0 <= value < 0xFFFF:
                    row[i] = 0xFFFF
            elif kind == _I16:
                if value is None or not -0x7FFF <= value <= 0x7FFF:
                    row[i] = -0x8000
            elif value is None or not 0 <= value >> 16 <= 0xFFFF:
                row[i] = 0xFFFFFFFF
        pack_into(self._cell_format, self._image, self._cells + cell * self._cell_bytes, *row)
        for i in range(len(row)):
            row[i] = None

    def set_text(self, name: str, text: str) -> None:
        """Write a string, cut to its registers and filled with zeros."""
        offset, words, _rw = self.layout.place(name)
        at = self.start + 2 * offset
        data = text.encode()[: 2 * words]
        for i in range(2 * words):
            self._image[at + i] = data[i] if i < len(data) else 0

    def get(self, name: str) -> "int | None":
        """The number as it stands in the image, ``None`` where it is not available."""
        entry = self._index[name]
        return self._read(self.start + 2 * (entry >> 10), entry >> 1 & 7)

    def get_cell(self, name: str, cell: int) -> "int | None":
        """The number of the cell with index ``cell``, counted from 0."""
        entry = self._cell_index[name]
        at = self._cells + cell * self._cell_bytes + 2 * (entry >> 10)
        return self._read(at, entry >> 1 & 7)

    def bytes(self) -> "bytes":
        """A copy of the block, from ``ID`` to its end."""
        return bytes(self._image[self.start : self.start + 2 * self.layout.words])

    def put_bytes(self, offset: int, data: "bytearray | memoryview") -> None:
        """Put back a part of ``bytes()`` that began at its byte ``offset``."""
        at = self.start + offset
        for i in range(len(data)):
            self._image[at + i] = data[i]

    def _write(self, at: int, entry: int, value: "int | None") -> None:
        image = self._image
        kind = entry >> 1 & 7
        if kind == _U16:
            if value is None or not 0 <= value < 0xFFFF:
                value = 0xFFFF
        elif kind in (_I16, _PAD):
            if value is None or not -0x7FFF <= value <= 0x7FFF:
                value = -0x8000
        elif kind == _STR:
            for i in range(2 * (entry >> 4 & 0x3F)):
                image[at + i] = 0
            return
        else:
            if value is None:
                high, low = (0xFFFF, 0xFFFF) if kind == _U32 else (0x8000, 0)
            else:
                high = value >> 16
                low = value & 0xFFFF
                if kind == _U32:
                    if high < 0 or high > 0xFFFF:
                        high, low = 0xFFFF, 0xFFFF
                elif high < -0x8000 or high > 0x7FFF:
                    high, low = 0x8000, 0
            image[at] = high >> 8 & 0xFF
            image[at + 1] = high & 0xFF
            image[at + 2] = low >> 8
            image[at + 3] = low & 0xFF
            return
        image[at] = value >> 8 & 0xFF
        image[at + 1] = value & 0xFF

    def _read(self, at: int, kind: int) -> "int | None":
        image = self._image
        value = image[at] << 8 | image[at + 1]
        if kind == _U16:
            return None if value == 0xFFFF else value
        if kind in (_U32, _I32):  # by halves: the sentinels are no small integers
            low = image[at + 2] << 8 | image[at + 3]
            if kind == _U32:
                return None if value == low == 0xFFFF else value << 16 | low
            value -= (value & 0x8000) << 1
            return None if value == -0x8000 and low == 0 else value << 16 | low
        value -= (value & 0x8000) << 1
        return None if value == -0x8000 else value


class RegisterMap:
    """The whole map of one pack: ``SunS``, every model, and the end model, in one image."""

    def __init__(self, n_cells: int) -> None:
        layouts = [Layout(entry[0], n_cells) for entry in models.MODELS]
        self.n_cells = n_cells
        self.words = 2 + sum([layout.words for layout in layouts]) + HEADER_WORDS
        self.image = bytearray(2 * self.words)
        self.image[0:4] = models.SUNS
        self.blocks: list[Block] = []
        at = 2
        for layout in layouts:
            self.blocks.append(Block(layout, self.image, models.BASE_ADDRESS + at, 2 * at))
            at += layout.words
        self.image[2 * at : 2 * at + 4] = b"\xff\xff\x00\x00"
        for block in self.blocks:
            if "NCell" in block.layout.index:
                block.set("NCell", n_cells)

    def block(self, model_id: int) -> Block:
        """The block of one model; ``KeyError`` for an id we do not have."""
        for block in self.blocks:
            if block.layout.id == model_id:
                return block
        raise KeyError(model_id)
