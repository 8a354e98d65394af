"""The topics a gateway publishes under: ``<base>/<gateway>/status`` and those of its packs."""

from __future__ import annotations

_RESERVED = str.maketrans(dict.fromkeys("/+#\0", "_"))


class Topics:
    """Names of the topics of one gateway."""

    def __init__(self, base: str, gateway_id: str) -> None:
        self._root = f"{base}/{gateway_id}"
        self.status = f"{self._root}/status"

    def pack(self, serial: str, kind: str) -> str:
        """The topic of one ``kind`` of message about a pack; reserved characters become ``_``."""
        return f"{self._root}/{serial.translate(_RESERVED)}/{kind}"
