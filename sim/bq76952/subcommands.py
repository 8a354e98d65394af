"""The subcommand port: 0x3E/0x3F, the 32-byte transfer buffer, checksum, length and busy time.

A command starts when its high byte is written to 0x3F. While it is processed 0x3E/0x3F read
0xFFFF; then they echo the command and the buffer, checksum and length are there. Data is taken
only by one write of checksum and length together to 0x60, both right. A new write to the port
while one is processed stretches the clock until the first has ended.
"""

import logging
from typing import TYPE_CHECKING

from . import registers as reg
from .memory import BLOCK_BYTES, END, START

if TYPE_CHECKING:
    from .chip import Bq76952

_log = logging.getLogger(__name__)

DEFAULT_BUSY_US = 550
BUSY_US = {
    0x0001: 400,
    0x0004: 8500,
    0x0057: 605,
    0x0075: 660,
    0x0076: 660,
    0x0083: 560,
    0x0085: 575,
    0x0090: 2000,
    0x0092: 1000,
    0x0097: 495,
}
TAKES_DATA = frozenset((0x0070, 0x0083, 0x0084, 0x0097, 0x0098))
_NONE, _FETCH, _COMMIT = 0, 1, 2


class SubcommandPort:
    """Lives on the register file of its chip."""

    def __init__(self, chip: "Bq76952") -> None:
        self._chip = chip
        self._file = chip.file
        self.reset()

    def reset(self) -> None:
        """Forget a command under way and clear the port."""
        self._pending = _NONE
        self._hung = False
        self._command = 0
        self._done_us = 0.0
        self._data = b""
        self._file[reg.SUBCOMMAND_LOW : reg.LENGTH + 1] = bytes(
            reg.LENGTH + 1 - reg.SUBCOMMAND_LOW
        )

    @property
    def busy(self) -> bool:
        """A command is being processed."""
        return self._pending != _NONE

    @property
    def done_us(self) -> float:
        """When the command under way ends, on the chip's clock."""
        return self._done_us

    def write(self, register: int, data: bytes) -> None:
        """Bytes written to 0x3E..0x61, from ``register`` on."""
        file = self._file
        end = register + len(data)
        file[register:end] = data
        if register <= reg.SUBCOMMAND_HIGH < end:
            self._command = file[reg.SUBCOMMAND_HIGH] << 8 | file[reg.SUBCOMMAND_LOW]
            brings_data = end > reg.BUFFER and (
                START <= self._command < END or self._command in TAKES_DATA
            )
            if not brings_data:
                self._start(_FETCH)
        if end > reg.CHECKSUM:
            if register <= reg.CHECKSUM and end > reg.LENGTH:
                self._check(file[reg.CHECKSUM], file[reg.LENGTH])
            else:  # only one of the two: nothing takes effect
                self._chip.rejected.length += 1

    def _start(self, what: int) -> None:
        self._pending = what
        self._hung = self._chip.faults.busy_next > 0
        if self._hung:
            self._chip.faults.busy_next -= 1
        self._done_us = self._chip.now_us + BUSY_US.get(self._command, DEFAULT_BUSY_US)
        self._file[reg.SUBCOMMAND_LOW] = self._file[reg.SUBCOMMAND_HIGH] = 0xFF

    def _check(self, checksum: int, length: int) -> None:
        count = length - 4
        if not 1 <= count <= BLOCK_BYTES:
            self._chip.rejected.length += 1
            return
        data = bytes(self._file[reg.BUFFER : reg.BUFFER + count])
        total = (self._command & 0xFF) + (self._command >> 8) + sum(data)
        if checksum != ~total & 0xFF:
            self._chip.rejected.checksum += 1
            return
        self._data = data
        self._start(_COMMIT)

    def give_up(self) -> None:
        """A command that hangs is forgotten when the host gives another."""
        if self._hung:
            self._pending = _NONE
            self._hung = False

    def advance(self) -> None:
        """Complete the command under way if its time has come."""
        if self._pending == _NONE or self._chip.now_us < self._done_us:
            return
        if self._chip.faults.stuck_busy or self._hung:
            return
        pending, command = self._pending, self._command
        self._pending = _NONE
        self._file[reg.SUBCOMMAND_LOW] = command & 0xFF
        self._file[reg.SUBCOMMAND_HIGH] = command >> 8
        if pending == _COMMIT:
            self._commit(command)
        else:
            self._fetch(command)

    def _commit(self, command: int) -> None:
        chip = self._chip
        if START <= command < END:
            if not chip.config_update:
                chip.rejected.not_in_config_update += 1
                _log.debug("data memory 0x%04X written outside CONFIG_UPDATE: dropped", command)
            elif not chip.memory.write(command, self._data):
                chip.rejected.out_of_range += 1
            else:
                unmodelled = chip.memory.unmodelled(command, len(self._data))
                if unmodelled is not None:
                    chip.unknown("data memory write", unmodelled)
        elif not chip.take_data(command, self._data):
            chip.unknown("subcommand write", command)

    def _fetch(self, command: int) -> None:
        chip = self._chip
        if START <= command < END:
            self._answer(command, chip.memory.block(command))
            if chip.memory.unmodelled(command) is not None:
                chip.unknown("data memory read", command)
        else:
            answer = chip.run_subcommand(command)
            if answer is not None:
                self._answer(command, answer)

    def _answer(self, command: int, data: bytes) -> None:
        file = self._file
        file[reg.BUFFER : reg.BUFFER_END] = data.ljust(BLOCK_BYTES, b"\0")
        total = (command & 0xFF) + (command >> 8) + sum(data)
        file[reg.CHECKSUM] = ~total & 0xFF
        file[reg.LENGTH] = len(data) + 4
