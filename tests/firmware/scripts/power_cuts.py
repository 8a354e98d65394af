"""Run on MicroPython: cut the power in every operation of what saves records.

    micropython power_cuts.py MEDIUM CAMPAIGN SIZE

MEDIUM is 32 or 256 (bytes that littlefs programs at once) or ``fram``. Prints how many cuts it
made, and ends with an assertion when one of them lost or invented something.
"""

import sys

from cutting import PLACE, Flash, FramMedium, Life
from resting_pack import Chip, Desk

from common.codes import Command
from firmware.app import App
from firmware.settings import Settings

SIZES = (
    ("boot", 4), ("latched", 4), ("connected", 1), ("service", 1), ("crash", 7), ("tries", 22),
    ("limits", 620), ("lifetime", 336), ("test", 324), ("estimates", 924), ("calibration", 96),
    ("identity", 206), ("faults", 144),
)  # fmt: skip


def medium():
    return FramMedium() if sys.argv[1] == "fram" else Flash(int(sys.argv[1]))


def data_of(n_bytes, seed):
    return bytes([(seed * 31 + i * 7 + (i >> 8)) & 255 for i in range(n_bytes)])


class ChargedChip(Chip):
    """Cells that are charged, a little."""

    def read(self, s):
        Chip.read(self, s)
        s.delta_uah = 28
        s.current_ma = 100

    look = read


class MediumDesk(Desk):
    """A board whose records are on the medium."""

    def __init__(self, medium, life=None):
        self.root = PLACE
        self.medium = medium
        self.life = life

    def make_storage(self):
        storage = self.medium.storage()
        return self.life.watch(storage) if self.life else storage


def start(medium, life=None):
    app = App(MediumDesk(medium, life), Settings("P", 4, "nmc", 10000), ChargedChip())
    app._may_record = False  # history_cuts.py cuts the history
    return app


def run(app, seconds):
    end_ms = app.board.now_ms + 1000 * seconds
    while app.board.now_ms < end_ms:
        app.step()


def names(size):
    """Each record, saved when it has no slot, one, or two: every byte of it."""
    n = 0
    for name, n_bytes in SIZES:
        here = medium()
        known = {}
        for turn in range(size):
            life = Life(here, known)
            data = data_of(n_bytes, turn)
            life.storage().save(name, data)
            for k, how in life.cuts(every=True):
                life.check(here.storage(), k, how)
                again = here.storage()
                again.save(name, b"!")  # and it can be saved again
                assert here.storage().load(name) == b"!"
                n += 1
            here.use(life.before)
            known = {name: (data,)}
    return n


def long(size):
    """Many saves of all records, so that littlefs compacts, moves and wears its blocks."""
    here = medium()
    life = Life(here)
    storage = life.storage()
    for turn in range(size):
        name, n_bytes = SIZES[(turn * turn + turn // 7) % len(SIZES)]
        storage.save(name, data_of(n_bytes, turn))
    n = 0
    for k, how in life.cuts():
        life.check(here.storage(), k, how)
        n += 1
    return n


def lived(here):
    """A life of the application in which it saves all that it can save by itself."""
    life = Life(here)
    app = start(here, life)
    run(app, 4)
    app.command(Command.DISCONNECT)
    run(app, 3)
    app.command(Command.CONNECT)
    run(app, 2)
    app.protection.restore_latched(1 << 2)  # DEEP_DISCHARGE
    run(app, 3)
    app.command(Command.SERVICE)
    app.tests.changed = True
    run(app, 310)
    app.crashes.record(ValueError(), 1)
    app = start(here, life)
    run(app, 4)
    app.command(Command.CLEAR_LATCHED)
    app.command(Command.CONNECT)
    app.tests.changed = True
    run(app, 640)
    return life


def number(data, absent=0):
    return int.from_bytes(data, "little") if data else absent


def application(stride):
    """The application boots behind each cut, and behind a second one in what it saves then."""
    here = medium()
    life = lived(here)
    assert {save[0] for save in life.saves} == {
        "boot", "latched", "connected", "service", "crash", "test", "lifetime", "estimates"
    }  # fmt: skip
    n = 0
    for k, how in life.cuts(stride=stride):
        found = life.check(here.storage(), k, how)
        second = Life(here, {name: (data,) for name, data in found.items()})
        app = start(here, second)
        boot = number(found.get("boot")) + 1
        assert app.boot == boot, (k, how)
        assert app.protection.latched == number(found.get("latched")), (k, how)
        assert app.protection.connected == bool(number(found.get("connected"), 1)), (k, how)
        assert app.protection.service == bool(number(found.get("service"))), (k, how)
        run(app, 2)
        assert not app.protection.reported & 1 << 20, (k, how)
        assert number(here.storage().load("boot")) == boot, (k, how)
        n += 1
        for j, again in second.cuts(every=None):
            second.check(here.storage(), j, (k, how, again))
            here.storage().save("boot", b"\xfe")  # and it can be saved again
            assert here.storage().load("boot") == b"\xfe"
            n += 1
    return n


def flicker(size):
    """The power fails again and again, each time somewhere in what the board saves as it boots."""
    here = medium()
    seed = 1
    n = 0
    known = {}
    for _ in range(size):
        life = Life(here, known)
        app = start(here, life)
        run(app, 2)
        n_operations = len(here.log)
        seed = (seed * 75 + 74) % 65537
        at = seed % n_operations
        for k, how in life.cuts(first=at):  # noqa: B007  it is used behind the loop
            seed = (seed * 75 + 74) % 65537
            if seed % 3 == 0 or k > at:
                break
        found = life.check(here.storage(), k, how)  # the last way there is, when none was drawn
        known = {name: (data,) for name, data in found.items()}
        n += 1
    return n


def old(_size):
    """The second slots are in the folder of the first, as they once were; all are saved anew.

    The last three records are younger than that.
    """
    here = medium()
    storage = here.storage()
    storage._path = lambda name, slot: f"{PLACE}/{name}.{slot}"
    known = {}
    for turn in range(2):
        for name, n_bytes in SIZES[:10]:
            known[name] = (data_of(n_bytes, turn),)
            storage.save(name, known[name][0])
    life = Life(here, known)
    storage = life.storage()
    for turn in range(2, 4):
        for name, n_bytes in SIZES[:10]:
            storage.save(name, data_of(n_bytes, turn))
    n = 0
    for k, how in life.cuts():
        life.check(here.storage(), k, how)
        n += 1
    return n


CAMPAIGNS = {
    "names": names, "long": long, "application": application, "flicker": flicker, "old": old,
}  # fmt: skip
print(CAMPAIGNS[sys.argv[2]](int(sys.argv[3])))
