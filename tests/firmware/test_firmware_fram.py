"""Records in an FRAM: as files have them, byte by byte, and what a spoiled chip or bus does."""

import errno
import json
from pathlib import Path

import pytest
from app_rig import Rig

from common import models
from common.codes import Fault
from common.registers import RegisterMap
from firmware.app import App
from firmware.board import Board
from firmware.estimators.estimators import Estimators
from firmware.fram import RECORDS, Fram
from firmware.remote_settings import _identity
from firmware.settings import REMOTE, Settings
from firmware.storage import Storage
from sim.fram import ADDRESS, I2C, N_BYTES, FramChip

SIZES = dict(RECORDS)


class Bench(Board):
    def __init__(self) -> None:
        self.chip = FramChip()
        self.i2c = I2C(self.chip)

    def storage(self) -> Fram:
        return Fram("/nowhere", self)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_was_saved_is_loaded_and_nothing_else(bench: Bench) -> None:
    for turn in range(5):
        for name, most in RECORDS:
            data = bytes([turn + 1]) * (most - turn % 2)
            bench.storage().save(name, data)
            assert bench.storage().load(name) == data
    storage = bench.storage()
    assert all(storage.load(name) == b"\x05" * most for name, most in RECORDS)
    assert not storage.damaged


@pytest.mark.parametrize("fill", [0x00, 0xFF])
def test_a_new_chip_holds_nothing(bench: Bench, fill: int) -> None:
    bench.chip.image[:] = bytes([fill]) * N_BYTES
    storage = bench.storage()
    assert all(storage.load(name) is None for name, _most in RECORDS)
    assert not storage.damaged


def test_the_bytes_are_those_of_a_file(bench: Bench, tmp_path: Path) -> None:
    bench.storage().save("boot", b"\x07\0\0\0")
    Storage(str(tmp_path)).save("boot", b"\x07\0\0\0")
    content = (tmp_path / "boot.0").read_bytes()
    assert bench.chip.image[: len(content)] == content
    assert not any(bench.chip.image[len(content) :])


def test_all_records_fit_and_each_has_room_for_what_is_saved() -> None:
    assert sum(2 * (most + 15) for most in SIZES.values()) <= N_BYTES
    settings = Settings("S" * 32, 72, "nmc", 4_000_000)
    estimators = Estimators(settings)
    assert len(estimators.state()) <= SIZES["estimates"]
    assert len(estimators.counters()) <= SIZES["lifetime"]
    values = dict.fromkeys(REMOTE, -(10**7))
    identity = _identity(settings)
    identity[2] = "p" * 32
    assert len(json.dumps({"pack": identity, "set": values})) <= SIZES["limits"]
    assert len(json.dumps([13, 2**32, 2**32])) <= SIZES["tries"]
    image = RegisterMap(72)
    for name, model in (("calibration", models.CALIBRATION), ("identity", models.IDENTITY)):
        layout = image.block(model).layout
        n_values = 2 * (layout.offset("SeqEnd") - layout.offset("Resp8") - 2)
        assert 7 + n_values <= SIZES[name]


def test_each_record_is_where_it_will_always_be(bench: Bench) -> None:
    """Boards in the field have them there: append, change nothing."""
    places = {
        "boot": (4, 0, 19), "latched": (4, 38, 57), "connected": (1, 76, 92),
        "service": (1, 108, 124), "crash": (16, 140, 171), "tries": (64, 202, 281),
        "test": (1280, 360, 1655), "limits": (1280, 2950, 4245), "lifetime": (512, 5540, 6067),
        "estimates": (4096, 6594, 10705), "calibration": (256, 14816, 15087),
        "identity": (256, 15358, 15629), "faults": (2304, 15900, 18219),
    }  # fmt: skip
    assert {name: most for name, (most, _first, _second) in places.items()} == SIZES
    for name, (most, *slots) in places.items():
        storage = bench.storage()
        for at in slots:
            storage.save(name, bytes(most))
            assert bench.chip.image[at : at + 4] == b"ECHR"
            assert bench.chip.image[at + 15 + most : at + 19 + most] in (bytes(4), b"ECHR")


def test_the_mark_of_a_slot_goes_first_and_comes_last(bench: Bench) -> None:
    storage = bench.storage()
    for data in (b"1", b"2"):
        storage.save("boot", data)
    bench.chip.log = []
    storage.save("boot", b"3")
    n = 15 + 1
    assert bench.chip.log[:4] == [(at, 0) for at in range(4)]
    assert bench.chip.log[-4:] == list(enumerate(b"ECHR"))
    assert [at for at, _byte in bench.chip.log[4:-4]] == list(range(4, n))


@pytest.mark.parametrize(
    "mark", [b"E\0\0\0", b"ECH\0", b"\x01CHR", b"E\x03\0\0", b"\0\0\0R", b"ECH\x50"]
)
def test_a_part_of_the_mark_is_a_save_that_was_cut(bench: Bench, mark: bytes) -> None:
    bench.storage().save("boot", b"1")
    bench.chip.image[:4] = mark
    storage = bench.storage()
    assert (storage.load("boot"), storage.damaged) == (None, False)


@pytest.mark.parametrize("mark", [b"\xff\0\0\0", b"ECHS", b"eCHR", b"\xff\xff\xff\x7f"])
def test_what_no_save_leaves_is_damage(bench: Bench, mark: bytes) -> None:
    bench.storage().save("boot", b"1")
    bench.chip.image[:4] = mark
    storage = bench.storage()
    assert (storage.load("boot"), storage.damaged) == (None, True)


def test_a_board_s_files_stay_in_its_root(bench: Bench) -> None:
    assert bench.storage().root == "/nowhere"


def test_what_has_no_place_is_refused_and_the_record_stays(bench: Bench) -> None:
    storage = bench.storage()
    with pytest.raises(ValueError, match=r"^record other: the FRAM has no place for it$"):
        storage.save("other", b"1")
    storage.save("connected", b"1")
    with pytest.raises(ValueError, match=r"^record connected: more than its 1 bytes$"):
        storage.save("connected", b"12")
    assert bench.storage().load("connected") == b"1"


def test_one_error_on_the_bus_is_tried_again_and_many_are_told(bench: Bench) -> None:
    bench.storage().save("boot", b"1")
    bench.chip.deaf = 2
    storage = bench.storage()
    assert storage.load("boot") == b"1"
    assert not storage.damaged
    bench.chip.deaf = 1000
    assert storage.load("boot") is None
    assert storage.damaged
    with pytest.raises(OSError, match="19"):
        storage.save("boot", b"2")


@pytest.mark.parametrize("place", range(19))
def test_a_write_that_does_not_read_back_fails_and_the_record_stays(
    bench: Bench, place: int
) -> None:
    old, new = b"\xff\xff\xff\xff", b"\x5a\xa5\xff\x00"
    for bit in range(8):
        bench.chip.image[:] = bytes(N_BYTES)
        bench.chip.stuck = {}
        storage = bench.storage()
        storage.save("boot", b"1")
        storage.save("boot", old)
        bench.chip.stuck = {place: 1 << bit}  # in the slot that comes next
        failure: tuple[object, ...] = ()
        try:
            storage.save("boot", new)
        except OSError as error:
            failure = error.args
        assert failure in ((), (errno.EIO,))  # that bit may be 0 in what is written
        assert bench.storage().load("boot") == (old if failure else new)


def test_a_slot_that_was_whole_and_is_not_is_told_and_an_unfinished_one_is_not(
    bench: Bench,
) -> None:
    storage = bench.storage()
    storage.save("boot", b"1")
    storage.save("boot", b"2")
    whole = bytes(bench.chip.image)
    second = 4 + 15
    bench.chip.image[second + 11] ^= 0x40  # its data
    damaged = bench.storage()
    assert (damaged.load("boot"), damaged.damaged) == (b"1", True)
    bench.chip.image[:] = whole
    bench.chip.image[second : second + 4] = bytes(4)  # a save that was cut
    cut = bench.storage()
    assert (cut.load("boot"), cut.damaged) == (b"1", False)
    bench.chip.image[second : second + 4] = b"ECHS"
    damaged = bench.storage()
    assert (damaged.load("boot"), damaged.damaged) == (b"1", True)


def test_a_length_beyond_the_place_is_damage(bench: Bench) -> None:
    bench.storage().save("boot", b"1")
    bench.chip.image[10] = 0x10  # of the length, the upper byte
    storage = bench.storage()
    assert (storage.load("boot"), storage.damaged) == (None, True)


class TwoChips:
    """One bus with the front end and the FRAM."""

    def __init__(self, front_end: object, memory: I2C) -> None:
        self.chips = {ADDRESS: memory}
        self.front_end = front_end

    def readfrom_mem_into(self, address, register, buffer, **size):
        self.chips.get(address, self.front_end).readfrom_mem_into(
            address, register, buffer, **size
        )

    def writeto_mem(self, address, register, data, **size):
        self.chips.get(address, self.front_end).writeto_mem(address, register, data, **size)


class FramRig(Rig):
    """The whole board, with an FRAM on its bus besides."""

    def __init__(self, root: Path, **spec: object) -> None:
        self.fram = FramChip()
        super().__init__(root, **spec)

    def boot(self) -> App:
        if not isinstance(self.i2c, TwoChips):
            self.i2c = TwoChips(self.i2c, I2C(self.fram))
        return super().boot()

    def make_storage(self) -> Storage:
        return Fram(self.root, self)


@pytest.mark.slow
@pytest.mark.usefixtures("thaw")
def test_a_board_with_an_fram_keeps_no_record_in_files_and_goes_on_after_a_restart(
    tmp_path: Path,
) -> None:
    rig = FramRig(tmp_path)
    rig.run(305)
    assert [path.name for path in tmp_path.iterdir()] == ["history"]  # but no record
    assert not rig.read(models.PROTECTION)["Flt"] & 1 << Fault.STORAGE
    run_s = rig.app.estimators.now_s
    rig.boot()
    rig.run(3)
    assert rig.app.boot == 2
    assert rig.app.estimators.now_s >= run_s - 10
    rig.fram.deaf = 10**9
    rig.run(305)
    assert rig.read(models.PROTECTION)["Flt"] & 1 << Fault.STORAGE
    assert rig.closed == (True, True)
    rig.boot()  # nor does a board whose FRAM is gone stop protecting
    rig.run(5)
    assert rig.read(models.PROTECTION)["Flt"] & 1 << Fault.STORAGE
    assert rig.closed == (True, True)
