"""The data memory of a BQ76952 as it is to be: values clamped to their registers, in order.

``items`` is a list of (register, bytes); ``applied`` tells in our units what truly results. Each
subject of the settings has a module that fills a plan: ``bq76952_config``, ``..._protections``,
``..._permanent``.

    >>> plan = Plan(user_ma=10)
    >>> plan.put(reg.OCC_THRESHOLD, 1000)
    62
"""

import struct

from common.mp import const

_BLOCK_BYTES = const(32)  # at most in one write or read of data memory


class Plan:
    """Every data-memory value for one pack; ``user_ma`` is the chip's unit of current in mA."""

    def __init__(self, user_ma: int) -> None:
        self.items: "list[tuple[tuple, bytes]]" = []  # type: ignore[type-arg]
        self.applied: "dict[str, int]" = {"user_ma": user_ma}
        self.user_ma = user_ma

    def put(self, register: "tuple", value: "int | float") -> int:  # type: ignore[type-arg]
        """Note ``value``, clamped to what ``register`` holds; return what it became."""
        _name, _address, code, lowest, highest = register
        value = min(max(value, lowest), highest)
        self.items.append((register, struct.pack("<" + code, value)))
        return value  # type: ignore[return-value]

    def put_byte(self, register: "tuple", behind: int, what: str, value: int) -> int:  # type: ignore[type-arg]
        """Note the byte that stands ``behind`` bytes after ``register``; what it became."""
        return self.put((register[0] + what, register[1] + behind, "B", 0, 255), value)

    def blocks(self) -> "list[tuple[int, bytes]]":
        """All values by address; neighbours as one (address, bytes) of at most 32 bytes."""
        self.items.sort(key=lambda item: item[0][1])
        made: "list[tuple[int, bytes]]" = []
        for register, data in self.items:
            if made:
                start, before = made[-1]
                fits = len(before) + len(data) <= _BLOCK_BYTES
                if start + len(before) == register[1] and fits:
                    made[-1] = (start, before + data)
                    continue
            made.append((register[1], data))
        return made

    def at(self, address: int) -> "tuple":  # type: ignore[type-arg]
        """The register that covers ``address``."""
        for register, data in self.items:
            if register[1] <= address < register[1] + len(data):
                return register
        raise ValueError("BQ76952: nothing is planned at 0x%04X" % address)
