"""Cycles an instruction of ``Estimators.update`` on the RP2040's core.

    python tests/benchmarks/core_cycles.py [--miss CYCLES] [--profile NAME]

Runs some updates of ``estimators_cycles.py`` on the emulated Cortex-M0+ (built by
``estimators_cost.py --source``), instruction by instruction, and adds up what each takes: by Arm's
table for the core with memory that never waits, and besides ``--miss`` cycles (50: 0.4 us at
125 MHz) whenever code or a literal is not in the RP2040's cache of its flash: 16 kB, two ways,
lines of 8 bytes. What is read of the flash as data is not in the trace. Before each update the
cache is taken as cold: the board's other tasks have used it. Needs objdump of
gcc-arm-none-eabi.
"""

import argparse
import re
import socket
import subprocess
import tempfile
import time
from itertools import pairwise
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
Trace = list[tuple[int, str]]  # address, function
Code = dict[int, tuple[str, str]]  # at an address: operation, operands


def traced(name: str, folder: Path) -> "list[Trace]":
    """The instructions of each update: what runs between two collections of garbage."""
    monitor, log = folder / "monitor", folder / "log"
    board = core("-singlestep", "-D", str(log), "-monitor", f"unix:{monitor},server,nowait")
    with board, socket.socket(socket.AF_UNIX) as control:
        board.run(SETUP.format(name=name, updates=UPDATES), seconds=300)
        control.connect(str(monitor))
        control.sendall(b"log exec,nochain\n")
        time.sleep(1)
        board.run("updates()", seconds=300)
    updates: list[Trace] = [[]]
    collecting = False
    for address, function in _lines(log):
        if function.startswith("gc_collect"):
            collecting = True
        elif collecting and function == "mp_execute_bytecode":
            updates.append([])
            collecting = False
        if not collecting:
            updates[-1].append((address, function))
    return updates[1 : UPDATES + 1]


def _lines(log: Path) -> "Iterator[tuple[int, str]]":
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if len(words) > 3 and words[0] == "Trace" and words[-1] not in WAITING:
                yield int(words[3].split("/")[1], 16), words[-1]


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


def replay(trace: Trace, code: Code) -> "tuple[int, int]":
    """``(cycles without waiting, misses)`` of one update."""
    total = 0
    cache = Cache()
    for (at, _function), (then, _next) in pairwise(trace):
        operation, operands = code[at]
        total += cycles(operation, operands, then != at + (4 if operation in WIDE else 2))
        cache.read(at)
        literal = re.search(r"\[pc, #(\d+)\]", operands)
        if literal:
            cache.read((at + 4 & ~3) + int(literal[1]))
    return total, cache.misses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--miss", type=int, default=50)
    parser.add_argument("--profile", default="nca")
    args = parser.parse_args()
    code = disassembled()
    with tempfile.TemporaryDirectory() as folder:
        traces = traced(args.profile, Path(folder))
    instructions = sum(map(len, traces))
    counted = [replay(trace, code) for trace in traces]
    plain, misses = (sum(column) for column in zip(*counted, strict=True))
    print(f"{len(traces)} updates, {instructions} instructions, {plain} cycles, {misses} misses")
    print(f"{plain / instructions:.2f} cycles an instruction with memory that never waits")
    print(f"figure: {(plain + misses * args.miss) / instructions:.2f} cycles an instruction")


if __name__ == "__main__":
    main()
