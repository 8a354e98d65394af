"""Cycles an instruction of the firmware on the RP2040's core.

    python tests/benchmarks/core_cycles.py [--miss CYCLES] [--profile NAME | --cycle N]

Runs some updates of ``estimators_cycles.py`` on the emulated Cortex-M0+ (built by
``estimators_cost.py --source``), or with ``--cycle`` what the whole firmware does from the N-th
measurement of ``firmware_cycles.py`` to the next (built by ``cycle_share.py --source``),
instruction by instruction, and adds up what each takes: by Arm's table for the core with memory
that never waits, and besides ``--miss`` cycles (50: 0.4 us at 125 MHz) whenever code or data that
is read of flash is not in the RP2040's cache of it: 16 kB, two ways, lines of 8 bytes. Before each
update, and before the cycle, the cache is taken as cold. Needs objdump of gcc-arm-none-eabi; a
cycle's trace takes up to 5 GB of disk and some minutes.
"""

import argparse
import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from estimators_cost import IMAGE, core

if TYPE_CHECKING:
    from collections.abc import Iterator

UPDATES = 4
WAITING = ("uart_rx_chr", "mp_hal_stdin_rx_chr")
TWO = {"ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "str", "strb", "strh", "bx", "blx"}
THREE = {"bl", "mrs", "msr", "dsb", "dmb", "isb"}
WIDE = THREE  # of four bytes
SETUP = """\
import gc, estimators_cycles as day
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings
estimators = Estimators(Settings("P", 16, {name!r}, 100000))
for what, s in day.cycles({name!r}):
    estimators.update(s)
    gc.collect()
    if what == "steady": break
def updates():
    for _ in range({updates}):
        gc.collect()
        estimators.update(s)
    gc.collect()"""
CYCLE = """\
import json, session, firmware_cycles
from firmware import app as application
from firmware import storage
from firmware.settings import Settings
storage.os = files = firmware_cycles.Files()
storage.open = files.open
board = firmware_cycles.ReplayBoard(session)
app = application.App(board, Settings.from_dict(json.loads(session.SETTINGS)))
def until(seq):
    while app.snapshot.seq <= seq: app.step()
until({before})"""
FLASH_END = 0x10000000
REGISTERS = {f"r{i}": i for i in range(13)} | {"sl": 10, "fp": 11, "ip": 12}
Code = dict[int, tuple[str, str]]  # at an address: operation, operands


def traced(setup: str, call: str, log: Path) -> None:
    """Write the instructions of ``call`` and the registers before each into ``log``."""
    monitor = log.with_name("monitor")
    board = core("-singlestep", "-D", str(log), "-monitor", f"unix:{monitor},server,nowait")
    with board, socket.socket(socket.AF_UNIX) as control:
        board.run(setup, seconds=300)
        control.connect(str(monitor))
        control.sendall(b"log exec,nochain,cpu\n")
        time.sleep(1)
        board.run(call, seconds=600)


def disassembled() -> Code:
    """What stands where."""
    command = ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", str(IMAGE)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s+([0-9a-f]+):\s+([a-z]+)\S*[ \t]*(.*)$", text, re.MULTILINE)
    return {int(at, 16): (operation, operands) for at, operation, operands in found}


def cycles(operation: str, operands: str, taken: bool) -> int:
    """Of one instruction, by Arm's table (Cortex-M0+ TRM, DDI 0484, 3.3)."""
    if operation in ("push", "pop", "stmia", "ldmia"):
        count = 1
        for part in operands[operands.index("{") + 1 : operands.index("}")].split(","):
            first, _, last = part.strip().partition("-")
            count += int(last[1:]) - int(first[1:]) + 1 if last else 1
        return count + 2 if "pc" in operands else count
    if operation in THREE:
        return 3
    return 2 if operation in TWO or taken else 1


class Instruction:
    """What of an instruction is the same whenever it runs."""

    def __init__(self, at: int, operation: str, operands: str) -> None:
        self.cycles = [cycles(operation, operands, taken) for taken in (False, True)]
        self.next = at + (4 if operation in WIDE else 2)
        self.literal: int | None = None
        self.load: tuple[int, int | None, int, int] | None = None  # base, index, offset, words
        found = re.search(r"\[(\w+)(?:, (#?)(\w+))?\]", operands)
        if operation == "ldmia":
            base = operands.split(",", maxsplit=1)[0].rstrip("!")
            self.load = (REGISTERS[base], None, 0, self.cycles[0] - 1)
        elif operation.startswith("ldr") and found and found[1] == "pc":
            self.literal = (at + 4 & ~3) + int(found[3])
        elif operation.startswith("ldr") and found and found[1] != "sp":
            index = None if found[2] or not found[3] else REGISTERS[found[3]]
            offset = int(found[3]) if found[2] else 0
            self.load = (REGISTERS[found[1]], index, offset, 1)

    def reads(self, lines: "Iterator[str]") -> "list[int]":
        """Addresses in flash of the words it loads; ``lines`` begin with the registers."""
        if self.literal is not None:
            return [self.literal]
        if self.load is None:
            return []
        base, index, offset, words = self.load
        registers: list[int] = []
        while len(registers) <= max(base, index or 0):
            registers += [int(word[4:], 16) for word in next(lines).split()]
        first = registers[base] + (offset if index is None else registers[index]) & 0xFFFFFFFF
        return [first + 4 * i for i in range(words)] if first < FLASH_END else []


class Cache:
    """Of the flash: two ways, lines of 8 bytes; counts what was not in it."""

    def __init__(self) -> None:
        self.misses = 0
        self._lines = [[-1, -1] for _ in range(1024)]

    def read(self, address: int) -> None:
        line = address >> 3
        ways = self._lines[line & 1023]
        if line not in ways:
            self.misses += 1
            ways[0] = line
        if ways[1] != line:
            ways.reverse()


class Count:
    """What has run since the cache was cold."""

    def __init__(self) -> None:
        self.instructions = self.cycles = 0
        self.cache = Cache()
        self._before: Instruction | None = None

    def add(self, at: int, instruction: Instruction, reads: "list[int]") -> None:
        if self._before is not None:
            self.cycles += self._before.cycles[at != self._before.next]
        self._before = instruction
        self.instructions += 1
        self.cache.read(at)
        for address in reads:
            self.cache.read(address)


def counts(log: Path, whole: bool) -> "list[Count]":
    """Of each update: what runs between two collections of garbage; or of the ``whole`` call."""
    code = {at: Instruction(at, *words) for at, words in disassembled().items()}
    found = [Count()]
    collecting = False
    running = False  # the call, and no longer what compiled it
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if len(words) < 4 or words[0] != "Trace" or words[-1] in WAITING:
                continue
            function = words[-1]
            if function.startswith("gc_collect"):
                collecting = True
            elif function == "mp_execute_bytecode":
                running = True
                if collecting and not whole:
                    found.append(Count())
                collecting = False
            if running if whole else not collecting:
                at = int(words[3].split("/")[1], 16)
                found[-1].add(at, code[at], code[at].reads(lines))
    return found if whole else found[1 : UPDATES + 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--miss", type=int, default=50)
    parser.add_argument("--profile", default="nca")
    parser.add_argument("--cycle", type=int, metavar="N")
    args = parser.parse_args()
    setup, call = SETUP.format(name=args.profile, updates=UPDATES), "updates()"
    if args.cycle is not None:
        setup, call = CYCLE.format(before=args.cycle - 1), f"until({args.cycle})"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        traced(setup, call, log)
        counted = counts(log, args.cycle is not None)
    instructions = sum(count.instructions for count in counted)
    plain = sum(count.cycles for count in counted)
    misses = sum(count.cache.misses for count in counted)
    print(f"{instructions} instructions, {plain} cycles, {misses} misses")
    print(f"{plain / instructions:.2f} cycles an instruction with memory that never waits")
    print(f"figure: {(plain + misses * args.miss) / instructions:.2f} cycles an instruction")


if __name__ == "__main__":
    main()
