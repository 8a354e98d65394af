"""An update, from the first piece to a healthy image; what is refused, and why."""

import hashlib
import runpy
import struct
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from interpreters import lines
from update_board import ADDRESS, BUSY, CHUNK, FAILURE, KEY, VALUE, Board, image, started

from common import update_codes
from common.update_codes import UpdateResult, UpdateState
from firmware import loader, update
from firmware.update import Update
from gateway import update_image
from gateway.update_image import EXPONENT, KEY_BITS, public_bytes


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path, KEY, image((0, 1, 0), size=1000))


def test_an_image_is_received_checked_tried_and_kept(board):
    new = image()
    assert board.say() == (UpdateState.IDLE, UpdateResult.NONE)
    assert board.send(new) == 0
    board.settle()
    assert board.say() == (UpdateState.READY, UpdateResult.NONE)
    assert (board.get("Have"), board.get("Size")) == (len(new), len(new))
    assert (board.root / "image.1").read_bytes() == new
    assert not board.update.restart
    board.try_it()
    assert board.slot == board.get("Slot") == 1
    assert board.say() == (UpdateState.TRIAL, UpdateResult.NONE)
    board.update.step(1000, 59)
    assert board.say()[0] == UpdateState.TRIAL
    board.update.step(1000, 60)
    assert board.say() == (UpdateState.IDLE, UpdateResult.DONE)
    record = loader.Record(str(board.root))
    assert (record.active, record.trial, record.lowest) == (1, loader.NONE, 2 << 16)
    board.boot()
    assert (board.slot, board.say()[1]) == (1, UpdateResult.DONE)


def test_the_image_that_runs_and_the_other_one_are_told(board):
    def told(name):
        return struct.pack(">LL", board.get(name + "1"), board.get(name + "2"))

    old, new = image((0, 1, 0), size=1000), image()
    assert told("Run") == hashlib.sha256(old[loader.FIRST_BYTES :]).digest()[:8]
    assert board.get("Img1") is None
    board.send(new)
    assert told("Img") == hashlib.sha256(new[loader.FIRST_BYTES :]).digest()[:8]
    assert told("Run") == hashlib.sha256(old[loader.FIRST_BYTES :]).digest()[:8]
    board.settle()
    board.try_it()
    assert told("Run") == hashlib.sha256(new[loader.FIRST_BYTES :]).digest()[:8]


def test_it_goes_on_after_a_restart_with_what_was_synced(board):
    new = image(size=30000)
    board.send(new, end=20000)
    board.cut()
    have = board.get("Have")
    assert board.say()[0] == UpdateState.RECEIVING
    assert 8192 <= have <= 20000
    assert board.send(new, have) == 0
    board.settle()
    assert board.say()[0] == UpdateState.READY


def test_what_was_all_received_before_a_restart_is_checked_when_the_last_piece_comes_again(board):
    new = image()
    board.send(new)
    board.settle()
    board.boot()
    assert board.say()[0] == UpdateState.IDLE
    assert board.get("Have") == len(new)
    assert board.update.receive(len(new) - 100, new, len(new) - 100, 100) == 0
    board.settle()
    assert board.say()[0] == UpdateState.READY


def test_a_piece_may_come_twice_but_none_may_be_left_out(board):
    new = image()
    assert board.update.receive(0, new, 0, CHUNK) == 0
    assert board.update.receive(0, new, 0, CHUNK) == 0, "its answer may have been lost"
    assert board.update.receive(2 * CHUNK, new, 2 * CHUNK, 32) == ADDRESS
    assert board.update.receive(CHUNK - 2, new, CHUNK - 2, CHUNK) == ADDRESS, "overlaps"
    assert board.update.receive(CHUNK, new, CHUNK, 2 * CHUNK) == VALUE, "past the header"
    assert board.send(new, CHUNK) == 0
    board.settle()
    assert board.say()[0] == UpdateState.READY
    assert board.update.receive(len(new), new, 0, 2) == VALUE, "past the end"
    assert board.update.receive(0, new, 0, CHUNK) == 0


def test_it_is_busy_while_its_buffer_is_full_and_while_it_checks(board):
    new = image()
    board.send(new, end=loader.FIRST_BYTES)
    assert board.say()[0] == UpdateState.CHECKING
    assert board.update.receive(512, new, 512, CHUNK) == BUSY
    for _ in range(20):
        board.update.step(1000, 0)
    answers = [board.update.receive(512 + n * 240, new, 512 + n * 240, 240) for n in range(5)]
    assert answers == [0, 0, 0, 0, BUSY]
    assert board.get("Have") == 512 + 4 * 240


def test_it_writes_only_when_the_next_measurement_is_far_enough(board):
    new = image()
    board.send(new, end=loader.FIRST_BYTES + 4 * CHUNK)
    size = (board.root / "image.1").stat().st_size
    for _ in range(5):
        board.update.step(119, 0)
    assert (board.root / "image.1").stat().st_size == size
    board.update.step(120, 0)
    board.update._close()
    assert (board.root / "image.1").stat().st_size > size


@pytest.mark.parametrize(
    ("header", "result"),
    [
        ({"interpreter": 0x1234}, UpdateResult.REFUSED_BOARD),
        ({"interpreter": 1}, UpdateResult.REFUSED_BOARD),
        ({"afe": "ltc6813"}, UpdateResult.REFUSED_BOARD),
        ({"board": "rp2"}, UpdateResult.REFUSED_BOARD),
        ({"version": (0, 1, 9)}, UpdateResult.REFUSED_VERSION),
    ],
)
def test_what_is_not_for_this_board_is_refused_by_its_header(board, header, result):
    record = loader.Record(str(board.root))
    record.lowest = 2 << 16
    record.save()
    board.boot()
    assert board.send(image(**header)) == ADDRESS, "nothing is asked for any more"
    assert board.say() == (UpdateState.IDLE, result)
    assert board.get("Have") == 0
    assert not (board.root / "image.1").exists()


def test_what_is_named_for_this_board_is_taken(board):
    interpreter = getattr(sys.implementation, "_mpy", 0)
    new = image(afe="bq76952", board="unix", interpreter=interpreter, version=(0, 0, 0))
    assert board.send(new) == 0
    board.settle()
    assert board.say()[0] == UpdateState.READY


def test_another_fleets_image_is_refused_and_leaves_the_one_that_was_there(board):
    (board.root / "image.1").write_bytes(before := image((0, 1, 1)))
    other = rsa.generate_private_key(public_exponent=EXPONENT, key_size=KEY_BITS)
    board.boot()
    assert board.send(image(key=other)) == ADDRESS
    assert board.say() == (UpdateState.IDLE, UpdateResult.REFUSED_SIGNATURE)
    assert (board.root / "image.1").read_bytes() == before


def test_what_is_no_image_is_refused(board):
    assert board.send(b"\0" * 600) == ADDRESS
    assert board.say() == (UpdateState.IDLE, UpdateResult.REFUSED_FORMAT)


@pytest.mark.parametrize("at", [300, 3000, -1])
def test_a_changed_bit_in_the_flash_is_found_before_the_start(board, at):
    new = image()
    board.send(new)
    path = board.root / "image.1"
    while board.get("UpSt") == UpdateState.RECEIVING:
        board.update.step(1000, 0)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)
    board.settle()
    bad = UpdateResult.REFUSED_SIGNATURE if at == 300 else UpdateResult.DAMAGED
    assert board.say() == (UpdateState.IDLE, bad)
    assert not path.exists()
    assert not board.update.start()


def test_a_file_that_became_shorter_is_damaged(board):
    new = image()
    board.send(new)
    while board.get("UpSt") == UpdateState.RECEIVING:
        board.update.step(1000, 0)
    (board.root / "image.1").write_bytes(new[:-100])
    board.settle()
    assert board.say() == (UpdateState.IDLE, UpdateResult.DAMAGED)


def test_flash_that_takes_no_image_ends_the_update(board, monkeypatch):
    new = image()
    board.send(new, end=loader.FIRST_BYTES)
    board.update._path = str(board.root / "absent" / "image.1")
    board.settle()
    assert board.say() == (UpdateState.IDLE, UpdateResult.STORAGE)
    board.update._path = str(board.root / "image.1")
    board.send(new)
    board.settle()
    assert board.say()[0] == UpdateState.READY, "and the next one may succeed"


def test_a_record_that_cannot_be_written_starts_nothing(board, monkeypatch):
    board.send(image())
    board.settle()

    def fail(self):
        raise OSError(28)

    monkeypatch.setattr(loader.Record, "save", fail)
    assert board.update.start()
    board.update.step(1000, 0)
    assert not board.update.restart
    assert board.say() == (UpdateState.IDLE, UpdateResult.STORAGE)


def test_it_can_be_abandoned(board):
    new = image()
    board.send(new, end=3000)
    assert board.update.abandon()
    assert board.update.receive(0, new, 0, CHUNK) == BUSY
    board.update.step(1000, 0)
    assert board.say() == (UpdateState.IDLE, UpdateResult.ABANDONED)
    assert board.get("Have") == 0
    assert not (board.root / "image.1").exists()


def test_another_image_may_follow_one_that_was_received_whole(board):
    board.send(image())
    board.settle()
    board.boot()
    newer = image((0, 3, 0))
    assert board.send(newer) == 0
    board.settle()
    board.try_it()
    assert (board.root / "image.1").read_bytes() == newer
    assert board.slot == 1


@pytest.mark.parametrize("content", [None, b"", b"00" * 384 + b"x", b"\xff" * 383])
def test_without_its_key_a_board_takes_nothing(board, content):
    path = board.root / "update.key"
    path.unlink() if content is None else path.write_bytes(content)
    board.boot()
    assert board.say()[0] == UpdateState.UNSUPPORTED
    assert board.update.receive(0, image(), 0, CHUNK) == FAILURE
    assert not board.update.abandon()


@pytest.mark.parametrize("resident", [None, started(loader.NONE)])
def test_a_board_that_the_loader_did_not_start_takes_nothing(board, resident):
    board.update = Update(board.block, str(board.root), "unix", "bq76952", resident)
    assert board.say() == (UpdateState.UNSUPPORTED, UpdateResult.NONE)
    assert board.get("Slot") is None
    assert board.update.receive(0, image(), 0, CHUNK) == FAILURE
    board.update.step(1000, 60)
    assert not board.update.start()
    assert not board.update.abandon()


def test_a_raw_key_is_as_good_as_hex(board):
    (board.root / "update.key").write_bytes(public_bytes(KEY))
    board.boot()
    assert board.say()[0] == UpdateState.IDLE


# --- the same numbers and formats on both sides -----------------------------------------------


def test_the_gateways_format_and_the_loaders_are_one():
    for name in ("MAGIC", "HEADER", "HEADER_BYTES", "FIRST_BYTES"):
        assert getattr(update_image, name) == getattr(loader, name)
    header = struct.pack(loader.HEADER, b"", *[0] * 9, b"\xaa" * 32, b"", b"")
    assert header[update._DIGEST_AT :][:32] == b"\xaa" * 32


def test_the_numbers_are_those_of_the_codes(root):
    for name in ("UNSUPPORTED", "IDLE", "RECEIVING", "CHECKING", "READY", "TRIAL"):
        assert getattr(update, "_" + name) == getattr(update_codes.UpdateState, name)
    for name in (
        "NONE", "DONE", "DAMAGED", "REFUSED_FORMAT", "REFUSED_SIGNATURE", "REFUSED_VERSION",
        "REFUSED_BOARD", "STORAGE", "ABANDONED",
    ):  # fmt: skip
        assert getattr(update, "_" + name) == getattr(UpdateResult, name)
    for name in ("HEADER_BYTES", "FIRST_BYTES"):
        assert getattr(update, "_" + name) == getattr(loader, name)
    assert update._NO_SLOT == loader.NONE
    for name in ("NONE", "NOT_HEALTHY", "DAMAGED"):
        assert getattr(loader, "RESULT_" + name) == getattr(UpdateResult, name)


# --- power cuts -------------------------------------------------------------------------------


@pytest.mark.slow
def test_power_cuts_at_many_operations_leave_a_board_that_starts(
    board_micropython, tmp_path, root
):
    bench = runpy.run_path(str(root / "tests" / "benchmarks" / "update_cuts.py"))
    bench["make_images"](tmp_path, (9000, 11000, 7000))
    for arguments, least in ((("exhaustive", tmp_path, 7), 80), (("random", tmp_path, 60, 3), 60)):
        last = lines(board_micropython, "update_cuts.py", *arguments)[-1].split()
        assert int(last[last.index("cuts") + 1]) >= least


def test_images_are_of_the_desk_and_no_path_of_it_is_left():
    assert str(Path.home()).encode() not in image()
