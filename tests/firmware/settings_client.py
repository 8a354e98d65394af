"""Whoever sets limits over Modbus: written from docs/settings.md, without any of our code."""

import hashlib
import hmac
import struct
from pathlib import Path

from app_rig import Rig

KEY = bytes(range(32))
START = 64919
# Registers from ID on, as docs/settings.md has them.
STATE, RESULT, SOURCE, REF1, REF2, WAIT, FAILED, FAIL_UTC = 6, 7, 8, 9, 10, 11, 12, 14
SELECT, LOWEST, HIGHEST, CHALLENGE, RESPONSE, VALUES = 16, 17, 19, 21, 29, 45
FORMAT = ">11H6h2L"
NAMES = (
    "record_every", "detail_every", "stack_tolerance_mv", "spread_mv", "cov_mv", "cov_release_mv",
    "cuv_mv", "cuv_release_mv", "balance_start_mv", "balance_min_mv", "balance_max_cells",
    "balance_max_dc", "otc_dc", "utc_dc", "otd_dc", "utd_dc", "otf_dc", "occ_ma", "ocd_ma",
)  # fmt: skip
END = VALUES + struct.calcsize(FORMAT) // 2


def provide(root: Path, key: bytes = KEY) -> None:
    (Path(root) / "device.key").write_bytes(key)


class Client:
    """One who talks to the board of a rig; ``key`` may be a wrong one."""

    def __init__(self, rig: Rig, key: bytes = KEY) -> None:
        self.rig = rig
        self.key = key
        at = 40002
        while True:  # walk the chain
            number, length = struct.unpack(">HH", self.registers(at, 2))
            if number == START:
                break
            at += 2 + length
        self.start = at
        assert length + 2 == END + 2  # SeqEnd follows

    def ask(self, pdu: bytes) -> bytes:
        """The answer's PDU; as if the line took no time."""
        answer = bytearray(256)
        n = self.rig.app.pdu_server.handle(bytearray(pdu), len(pdu), answer)
        return bytes(answer[:n])

    def registers(self, address: int, count: int) -> bytes:
        answer = self.ask(struct.pack(">BHH", 3, address, count))
        assert answer[:2] == bytes([3, 2 * count]), answer
        return answer[2:]

    def block(self) -> bytes:
        return self.registers(self.start, END + 2)

    def word(self, offset: int) -> int:
        return int.from_bytes(self.registers(self.start + offset, 1), "big")

    @property
    def state(self) -> int:
        return self.word(STATE)

    @property
    def result(self) -> int:
        return self.word(RESULT)

    @property
    def failed(self) -> int:
        return int.from_bytes(self.registers(self.start + FAILED, 2), "big")

    def challenge(self) -> bytes:
        return self.registers(self.start + CHALLENGE, 8)

    def values(self) -> dict[str, int]:
        data = self.registers(self.start + VALUES, END - VALUES)
        return dict(zip(NAMES, struct.unpack(FORMAT, data), strict=True))

    def signed(self, values: dict[str, int], challenge: bytes | None = None) -> bytes:
        """Response and settings, as they are written."""
        data = struct.pack(FORMAT, *[values[name] for name in NAMES])
        challenge = self.challenge() if challenge is None else challenge
        message = challenge + self.rig.spec.serial.encode() + data
        return hmac.new(self.key, message, hashlib.sha256).digest() + data

    def write(self, data: bytes, offset: int = RESPONSE) -> bytes:
        """The answer's PDU."""
        n = len(data) // 2
        return self.ask(struct.pack(">BHHB", 16, self.start + offset, n, len(data)) + data)

    def set(self, **changes: int) -> int:
        """Write the settings as they are with ``changes``; what became of it."""
        answer = self.write(self.signed({**self.values(), **changes}))
        assert answer == struct.pack(">BHH", 16, self.start + RESPONSE, END - RESPONSE)
        for _ in range(8):
            if self.result != 2:
                break
            self.rig.run(1)
        return self.result

    def bounds(self, name: str) -> tuple[int, int]:
        self.write(struct.pack(">H", NAMES.index(name)), SELECT)
        low, high = struct.unpack(">ll", self.registers(self.start + LOWEST, 4))
        return low, high
