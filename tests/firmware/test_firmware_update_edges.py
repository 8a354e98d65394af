"""The edges of an update: its buffer, its steps, its times, and what fails on the way."""

import os
import sys

import pytest
from update_board import ADDRESS, BUSY, CHUNK, KEY, VALUE, Board, full, image, on_trial

from common.update_codes import UpdateResult, UpdateState
from firmware import loader


@pytest.fixture
def board(tmp_path):
    found = Board(tmp_path, KEY, image((0, 1, 0), size=1000))
    yield found
    found.update._close()


@pytest.fixture
def synced(monkeypatch):
    """A sign for each time that all files were made safe."""
    signs = []
    monkeypatch.setattr(os, "sync", lambda: signs.append(1), raising=False)
    return signs


def accepted(board, new):
    """Send the header of ``new`` and have it checked."""
    assert board.send(new, end=loader.FIRST_BYTES) == 0
    while board.get("UpSt") == UpdateState.CHECKING:
        board.update.step(1000, 0)
    assert board.get("UpSt") == UpdateState.RECEIVING


# --- receiving ------------------------------------------------------------------------------


def test_its_buffer_takes_1024_bytes(board):
    new = image()
    accepted(board, new)
    at = loader.FIRST_BYTES
    assert board.update.receive(at, new, at, 1024) == 0
    assert board.update.receive(at + 1024, new, at + 1024, 1) == BUSY
    board.update.step(1000, 0)
    assert board.update.receive(at + 1024, new, at + 1024, 1022) == 0
    assert board.update.receive(at + 2046, new, at + 2046, 4) == BUSY
    assert board.update.receive(at + 2046, new, at + 2046, 2) == 0


def test_it_writes_512_bytes_at_once_or_the_rest(board):
    new = image(size=1000)
    accepted(board, new)
    path = board.root / "image.1"

    def written(end):
        at = board.get("Have")
        assert board.update.receive(at, new, at, end - at) == 0
        board.update.step(1000, 0)
        file = board.update._file
        if file is not None:
            file.flush()
        return path.stat().st_size

    assert written(512 + 511) == 512
    assert written(512 + 512) == 1024
    assert written(len(new)) == len(new), "less than 512, and nothing follows"


def test_every_8192_bytes_are_safe_though_the_power_fails(board, synced):
    new = image(size=20000)
    accepted(board, new)
    assert len(synced) == 1, "the header is safe at once"
    at = loader.FIRST_BYTES
    for n_pieces in range(1, 40):
        for _ in range(8):
            assert board.update.receive(at, new, at, 64) == 0
            at += 64
        board.update.step(1000, 0)
        assert len(synced) == 1 + n_pieces // 16
        on_flash = (board.root / "image.1").stat().st_size
        assert on_flash >= 512 + n_pieces // 16 * 8192
    assert board.send(new, at) == 0
    board.update.step(1000, 0)
    assert len(synced) == 4, "and the last"
    board.settle()
    assert board.say()[0] == UpdateState.READY


def test_the_pieces_end_with_the_header_and_with_the_image(board):
    new = image(size=300)
    assert board.update.receive(0, new, 0, loader.FIRST_BYTES + 2) == VALUE
    assert board.get("Have") == 0
    accepted(board, new)
    assert board.get("Size") == len(new)
    data = new + b"\0\0"
    at = loader.FIRST_BYTES
    assert board.update.receive(at, data, at, len(data) - at) == VALUE
    assert board.update.receive(at, data, at, len(new) - at) == 0
    assert board.get("Have") == len(new)


def test_a_piece_is_taken_out_of_the_middle_of_a_request(board):
    new = image()
    request = b"\x01\x15" + new
    for at, n_bytes in ((0, 200), (200, 312)):
        assert board.update.receive(at, request, 2 + at, n_bytes) == 0
    while board.get("UpSt") == UpdateState.CHECKING:
        board.update.step(1000, 0)
    for at in range(512, len(new), 100):
        while board.update.receive(at, request, 2 + at, min(100, len(new) - at)) == BUSY:
            board.update.step(1000, 0)
    board.settle()
    assert (board.root / "image.1").read_bytes() == new
    assert board.say()[0] == UpdateState.READY


def test_it_has_something_to_do_while_it_receives_and_checks(board):
    new = image()
    assert not board.update.busy
    board.update.receive(0, new, 0, CHUNK)
    assert board.update.busy
    assert board.get("Size") is None, "not known before the header is accepted"
    board.send(new, CHUNK, loader.FIRST_BYTES)
    assert (board.get("UpSt"), board.update.busy) == (UpdateState.CHECKING, True)
    board.send(new, loader.FIRST_BYTES)
    board.settle()
    assert (board.get("UpSt"), board.update.busy) == (UpdateState.READY, False)
    board.update.step(1000, 0)
    assert board.say() == (UpdateState.READY, UpdateResult.NONE)


def test_the_last_piece_may_come_twice(board):
    new = image()
    board.send(new)

    def again():
        before = board.say()
        assert board.update.receive(len(new) - 100, new, len(new) - 100, 100) == 0
        board.update.step(0, 0)
        assert board.say() == before
        return before[0]

    assert again() == UpdateState.RECEIVING, "its end is not written yet"
    board.settle()
    assert again() == UpdateState.READY
    assert board.update.start()


def test_a_new_update_forgets_what_became_of_the_last_one(board):
    assert board.send(b"\0" * 600) == ADDRESS
    assert board.say() == (UpdateState.IDLE, UpdateResult.REFUSED_FORMAT)
    board.update.receive(0, image(), 0, CHUNK)
    assert board.say() == (UpdateState.RECEIVING, UpdateResult.NONE)


# --- the rules --------------------------------------------------------------------------------


def test_an_image_for_this_interpreter_is_taken_and_one_for_another_is_not(board, monkeypatch):
    monkeypatch.setattr(sys.implementation, "_mpy", 0x1306, raising=False)
    for interpreter, answer in ((0x1F06, ADDRESS), (0x0306, ADDRESS), (0x1306, 0), (0, 0)):
        assert board.send(image(interpreter=interpreter)) == answer, hex(interpreter)
        board.update.abandon()
        board.update.step(1000, 0)


@pytest.mark.parametrize(
    "names", [{"afe": "bq7695"}, {"afe": "Xbq76952"}, {"board": "uni"}, {"afe": "unix"}]
)
def test_an_image_with_a_name_like_that_of_this_board_is_refused(board, names):
    assert board.send(image(**names)) == ADDRESS
    assert board.say() == (UpdateState.IDLE, UpdateResult.REFUSED_BOARD)


@pytest.mark.parametrize(("version", "answer"), [((0, 1, 9), ADDRESS), ((0, 2, 0), 0)])
def test_the_version_that_was_healthy_is_taken_again_and_no_older_one(board, version, answer):
    record = loader.Record(str(board.root))
    record.lowest = 2 << 16
    record.save()
    board.boot()
    assert board.send(image(version)) == answer


# --- steps and failures -------------------------------------------------------------------------


def test_it_is_given_up_while_a_file_is_open(board):
    new = image(size=3000)
    accepted(board, new)
    board.send(new, 512, 512 + 960)
    board.update.step(1000, 0)
    file = board.update._file
    assert not file.closed
    assert board.update.abandon()
    assert board.update.receive(512 + 960, new, 512 + 960, 2) == BUSY
    board.update.step(1000, 0)
    assert file.closed
    assert board.say() == (UpdateState.IDLE, UpdateResult.ABANDONED)
    assert (board.get("Have"), board.get("Size"), board.get("Img1")) == (0, None, None)
    newer = image((0, 3, 0), size=2000)
    assert board.send(newer) == 0
    board.settle()
    assert (board.root / "image.1").read_bytes() == newer


def test_an_image_that_was_received_whole_may_be_abandoned(board):
    (board.root / "image.1").write_bytes(image())
    board.boot()
    assert board.update.abandon()
    board.update.step(1000, 0)
    assert not (board.root / "image.1").exists()
    assert board.say() == (UpdateState.IDLE, UpdateResult.ABANDONED)


def test_nothing_to_be_removed_is_no_failure(board, capsys):
    assert board.update.abandon()
    board.update.step(1000, 0)
    assert board.say() == (UpdateState.IDLE, UpdateResult.ABANDONED)
    assert capsys.readouterr().out.startswith("update: [Errno 2] No such file")
    assert board.send(image()) == 0


def test_a_flash_that_fails_is_told(board, monkeypatch, capsys):
    new = image()
    board.send(new, end=loader.FIRST_BYTES)
    board.update._path = str(board.root / "absent" / "image.1")
    board.settle()
    assert capsys.readouterr().out.startswith("update: [Errno 2] No such file or directory")


def test_a_start_that_failed_is_not_tried_again(board, monkeypatch, capsys):
    board.send(image())
    board.settle()
    with monkeypatch.context() as patch:
        patch.setattr(loader.Record, "save", full)
        board.update.start()
        board.update.step(1000, 0)
    assert capsys.readouterr().out == "update: [Errno 28] full\n"
    for _ in range(3):
        board.update.step(1000, 0)
    assert not board.update.restart
    assert not board.update.start()
    board.boot()
    assert board.slot == 0


def test_the_former_image_stays_though_it_is_sent_again_and_refused(board):
    old = (board.root / "image.0").read_bytes()
    on_trial(board, image())
    board.update.step(1000, 60)
    board.boot()
    assert (board.slot, board.get("Have")) == (1, len(old)), "what it has is told"
    assert board.update.receive(len(old) - 100, old, len(old) - 100, 100) == 0
    board.settle()
    assert board.say() == (UpdateState.IDLE, UpdateResult.REFUSED_VERSION)
    (board.root / "image.1").write_bytes(b"damaged")
    board.boot()
    assert board.slot == 0, "it still serves"


def test_what_is_abandoned_right_after_its_start_is_not_started(board):
    board.send(image())
    board.settle()
    assert board.update.start()
    assert board.update.abandon()
    for _ in range(3):
        board.update.step(1000, 0)
    assert not board.update.restart
    assert board.say() == (UpdateState.IDLE, UpdateResult.ABANDONED)
    assert loader.Record(str(board.root)).trial == loader.NONE


def test_only_a_checked_image_is_started(board):
    new = image()
    assert not board.update.start()
    board.send(new, end=3000)
    assert not board.update.start()
    board.update.step(1000, 0)
    assert not board.update.restart
    board.send(new, 3000)
    assert not board.update.start(), "it is not checked yet"
    board.settle()
    board.update.step(1000, 0)
    assert not board.update.restart
    assert board.update.start() is True
    board.update.step(119, 0)
    assert not board.update.restart, "not right before a measurement"
    board.update.step(120, 0)
    assert board.update.restart
    record = loader.Record(str(board.root))
    assert (record.active, record.trial, record.started) == (0, 1, 0)
    assert record.result == UpdateResult.NONE
    board.update.step(1000, 0)
    assert loader.Record(str(board.root)).sequence == record.sequence, "it is written once"


def test_a_port_without_sync_takes_an_image(board, monkeypatch):
    monkeypatch.delattr(os, "sync")
    new = image(size=2000)
    assert board.send(new) == 0
    board.settle()
    assert board.say()[0] == UpdateState.READY
    assert (board.root / "image.1").read_bytes() == new
