"""The daisy chain as the host's SPI sees it: wake-up, frames, PEC, polling.

A transfer is what happens while chip select is low. Its edges wake: a chip that sleeps or whose
port is idle loses this transfer, is ready after its time, and only then wakes the chip above.

Behind a read command chip 0 (at the host) answers first; what is written goes the other way, the
frame of the topmost chip first. Every frame is six bytes and their PEC.
"""

import random

from .chip import WAKE_US, Ltc6813
from .commands import COMMANDS, CONVERT, READ, WRITE, Command, UnknownCommandError
from .faults import Faults, Ignored
from .pec import framed, pec15

READY_US = 10.0  # the longest that a port takes from idle
IDLE_US = 4300.0  # the shortest after which it goes idle
BYTE_US = 8.0  # at 1 MHz
SELECT_US = 2.0
FRAME_BYTES = 8
_IDLE_LINE = 0xFF  # nobody drives the host's input
_FRAMES = {framed(code.to_bytes(2)): command for code, command in COMMANDS.items()}


class Chain:
    """Chips with ``n_cells`` cells each, the lowest cells at chip 0 and that at the host."""

    def __init__(self, n_cells: list[int], seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - a simulation's noise
        self.faults = Faults()
        self.chips = [Ltc6813(k, n, self.faults, rng) for k, n in enumerate(n_cells)]
        self.ignored = Ignored()  # transfers that no chip could take

    def advance(self, now_us: float) -> None:
        """Bring every chip to ``now_us``."""
        for chip in self.chips:
            chip.advance(now_us)

    def transfer(self, out: bytes, now_us: float) -> tuple[bytes, float]:
        """Clock ``out`` through at ``now_us``: as many bytes back, and when it ended.

        ``UnknownCommandError`` for a code that does not exist, ``NotModelledError``.
        """
        end_us = now_us + SELECT_US + BYTE_US * len(out)
        self.advance(now_us)
        faults = self.faults
        if faults.corrupt_request_next > 0 and len(out) > 1:
            faults.corrupt_request_next -= 1
            out = _with_wrong_bit(out, min(2, len(out) - 1))
        awake = self._wake(now_us, end_us)
        answer = self._exchange(awake, out, now_us)
        if faults.corrupt_answer_next > 0 and len(answer) > 4:
            faults.corrupt_answer_next -= 1
            answer = _with_wrong_bit(answer, 4 + (len(answer) - 4) // 2)
        if faults.miso_stuck is not None:
            answer = bytes((faults.miso_stuck,)) * len(out)
        self.advance(end_us)
        return answer, end_us

    def _wake(self, now_us: float, end_us: float) -> list[Ltc6813]:
        """The chips that hear this transfer; the others above them are being woken."""
        living = self.chips[: self.faults.dead_from]
        for k, chip in enumerate(living):
            off = chip.asleep or chip.expired
            if not off and chip.ready_us <= now_us and now_us - chip.active_us < IDLE_US:
                chip.active_us = end_us
                continue
            at_us = now_us
            for above in living[k:]:
                above.ignored.not_awake += 1
                if above.ready_us > now_us:
                    at_us = above.ready_us
                    continue
                core_off = above.asleep or above.expired
                at_us += WAKE_US if core_off else READY_US
                above.wake(at_us)
                above.ready_us = above.active_us = at_us
            return living[:k]
        return living

    def _exchange(self, awake: list[Ltc6813], out: bytes, now_us: float) -> bytes:
        idle = bytes((_IDLE_LINE,)) * len(out)
        if len(out) < 4 or not awake:
            return idle
        command = _FRAMES.get(out[:4])
        if command is None:
            if pec15(out[:2]) == out[2:4]:
                code = out[:2].hex().upper()
                raise UnknownCommandError(f"LTC6813: there is no command 0x{code}")
            self.ignored.command_pec += 1
            for chip in awake:
                chip.ignored.command_pec += 1
            return idle
        done_us = now_us + SELECT_US + 4 * BYTE_US
        for chip in awake:
            chip.heard(done_us)
        if command.kind == READ:
            data = b"".join(framed(chip.read(command.name)) for chip in awake)
            return (idle[:4] + data).ljust(len(out), b"\xff")[: len(out)]
        if command.kind == WRITE:
            self._write(awake, command, out[4:], now_us + SELECT_US + BYTE_US * len(out))
            return idle
        for chip in awake:
            chip.execute(command, done_us)
        if command.kind == CONVERT or command.name in {"PLADC", "DIAGN"}:
            return idle[:4] + self._poll(awake, len(out) - 4, done_us)
        return idle

    def _write(self, awake: list[Ltc6813], command: Command, data: bytes, at_us: float) -> None:
        """Each chip keeps what has come to rest in its shift register."""
        for k, chip in enumerate(awake):
            end = len(data) - FRAME_BYTES * k
            frame = data[max(0, end - FRAME_BYTES) : max(0, end)]
            if len(frame) == FRAME_BYTES and pec15(frame[:6]) == frame[6:]:
                chip.write(command.name, frame[:6], at_us)
            else:
                chip.ignored.data_pec += 1

    def _poll(self, awake: list[Ltc6813], count: int, at_us: float) -> bytes:
        """Low while any chip converts; the first bit of each chip says nothing yet."""
        bits = 0
        for k in range(8 * count):
            when_us = at_us + k * BYTE_US / 8
            high = k >= len(awake) and not any(chip.busy(when_us) for chip in awake)
            bits = bits << 1 | high
        return bits.to_bytes(count) if count > 0 else b""


def _with_wrong_bit(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :]
