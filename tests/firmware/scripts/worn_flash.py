"""Run on MicroPython: the application on flash that wears out, is full, or is gone.

    micropython worn_flash.py PROGSIZE

Prints for each way to fail in how many of the cases the STORAGE fault told. Asserts that the
switches stay closed, that no task fails otherwise, that what was acknowledged is read, and that
the board starts again.
"""

import sys

from cutting import PLACE, Flash
from resting_pack import Chip, Desk

from firmware.app import App
from firmware.settings import Settings

STORAGE = 1 << 20
BLOCKS = 8


class FlashDesk(Desk):
    root = PLACE


def start():
    app = App(FlashDesk(), Settings("P", 4, "nmc", 10000), Chip())
    acknowledged = {}
    save_parts = app.storage.save_parts

    def noted(name, length, parts):
        data = b"".join(parts)
        save_parts(name, length, (data,))
        acknowledged[name] = data

    app.storage.save_parts = noted
    return app, acknowledged


def work(app, seconds):
    """Every record is due all the time."""
    told = False
    for _ in range(2 * seconds):
        app._saved_s = app.snapshot.uptime_s - 300
        app.tests.changed = app.crashes.changed = True
        app.step()
        told = told or bool(app.protection.reported & STORAGE)
    return told


def case(break_it, mend=None):
    """Break flash in the midst of work; whether the fault told."""
    medium = Flash(int(sys.argv[1]), BLOCKS)
    medium.chip.log = None
    app, acknowledged = start()
    work(app, 6)
    assert not app.protection.reported & STORAGE
    break_it(medium.chip)
    told = work(app, 20)
    assert app.afe.switches == 3, "the pack is not switched off for that"
    assert app.board.now_ms - app.board.fed_ms <= 2000, "the watchdog does not bite"
    fresh = medium.storage()
    if mend is None:  # what was acknowledged is read
        for name, data in acknowledged.items():
            assert fresh.load(name) == data, name
    again, _ = start()  # and a start is a start
    work(again, 6)
    assert again.afe.switches == 3
    assert not again.safe
    if mend is not None:
        mend(medium.chip)
        work(again, 15)
        assert not again.protection.reported & STORAGE or again.storage.damaged
    return told


def worn(block, how):
    def break_it(chip):
        for k in range(BLOCKS) if block is None else (block,):
            chip.worn[k] = how

    return break_it


def fill(chip):
    """Leave no block free."""
    n = 0
    try:
        while True:
            with open(f"{PLACE}/big{n}", "wb") as file:  # noqa: PTH123
                file.write(bytes(2000))
            n += 1
    except OSError:
        pass


def gone(chip):
    def error(*_):
        raise OSError(5)

    chip.kept = chip.readblocks, chip.writeblocks
    chip.worn = dict.fromkeys(range(BLOCKS), "erase")
    chip.dead = True
    chip._refuse = lambda: -5


def back(chip):
    chip.worn = {}
    chip.dead = False


for name, how in (("erase fails", "erase"), ("program fails", "program"), ("bit stuck", 0x08)):
    told = [case(worn(block, how)) for block in range(BLOCKS)]
    print(name, "in one block: told", sum(told), "of", len(told))
    print(name, "in all: told", case(worn(None, how)))
print("full: told", case(fill))
print("gone: told", case(gone, back))
