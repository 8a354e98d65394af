"""Counting charge in whole numbers, so that 5 mA over ten days is not lost to rounding.

A board's floats have 24 bits and its small integers 31: a charge is ``mah`` and a remainder
``uah`` of 0..999. Differences are taken in integers first and become a float last.

    >>> count = Charge()
    >>> count.add(-27778)  # 100 A for a second
    >>> count.since(0, 0)
    -27.778
"""


class Charge:
    """A running sum of charge; positive when charging."""

    def __init__(self) -> None:
        self.mah = 0
        self.uah = 0  # 0..999 on top

    def add(self, delta_uah: int) -> None:
        """Add ``delta_uah``."""
        total = self.uah + delta_uah
        whole = total // 1000
        self.mah += whole
        self.uah = total - 1000 * whole

    def since(self, mah: int, uah: int) -> float:
        """Milliampere-hours from the reading ``(mah, uah)`` to now."""
        return (self.mah - mah) + (self.uah - uah) / 1000
