"""What an update makes of the files it finds: images, parts of them, and the key."""

import pytest
from update_board import ADDRESS, KEY, Board, image, reads, started

from common.update_codes import UpdateResult, UpdateState
from firmware import loader, update
from firmware.update import Update
from gateway.update_image import public_bytes


@pytest.fixture
def board(tmp_path):
    found = Board(tmp_path, KEY, image((0, 1, 0), size=1000))
    yield found
    found.update._close()


@pytest.mark.parametrize("part", [b"", b"E" * 600, "511"])
def test_what_is_no_part_of_an_image_is_not_taken_up(board, part):
    data = image()[:511] if part == "511" else part
    (board.root / "image.1").write_bytes(data)
    board.boot()
    assert board.say() == (UpdateState.IDLE, UpdateResult.NONE)
    assert (board.get("Have"), board.get("Size"), board.get("Img1")) == (0, None, None)
    assert board.send(image()) == 0
    board.settle()
    assert board.say()[0] == UpdateState.READY


def test_an_accepted_header_alone_is_taken_up(board):
    new = image()
    (board.root / "image.1").write_bytes(new[:512])
    board.boot()
    assert board.say() == (UpdateState.RECEIVING, UpdateResult.NONE)
    assert (board.get("Have"), board.get("Size")) == (512, len(new))
    assert board.send(new, 512) == 0
    board.settle()
    assert board.say()[0] == UpdateState.READY


def test_a_forged_part_on_the_flash_is_not_started(board):
    new = bytearray(image())
    new[20] += 4
    new += b"evil"
    (board.root / "image.1").write_bytes(new[:3000])
    board.boot()
    assert board.send(new, 3000) == 0
    board.settle()
    assert board.say() == (UpdateState.IDLE, UpdateResult.REFUSED_SIGNATURE)
    assert not (board.root / "image.1").exists()


def test_more_on_the_flash_than_the_image_has_is_damage_to_nobody(board):
    new = image(size=1000)
    (board.root / "image.1").write_bytes(new + b"\0\0")
    board.boot()
    assert (board.get("Have"), board.get("Size")) == (len(new), len(new))
    assert board.update.receive(len(new) - 2, new, len(new) - 2, 2) == 0
    board.settle()
    assert board.say()[0] == UpdateState.READY
    board.try_it()
    assert board.slot == 0, "and the loader takes it for what it is"
    assert board.say()[1] == UpdateResult.DAMAGED


def test_what_runs_is_told_even_when_its_file_is_gone(board):
    (board.root / "image.0").unlink()
    board.update = Update(board.block, str(board.root), "unix", "bq76952", started(0))
    assert board.get("Slot") == 0
    assert board.say() == (UpdateState.IDLE, UpdateResult.NONE)


def test_no_more_is_read_at_once_than_a_board_has_memory_for(board, monkeypatch):
    (board.root / "image.1").write_bytes(new := image())
    (board.root / "update.key").write_bytes(public_bytes(KEY).hex().encode() + b"\n" * 5000)
    sizes = reads(monkeypatch, update)
    board.boot()
    board.update.receive(len(new) - 2, new, len(new) - 2, 2)
    board.settle()
    assert board.say()[0] == UpdateState.READY
    board.try_it()
    board.update.step(1000, 60)
    assert board.say() == (UpdateState.IDLE, UpdateResult.DONE)
    assert None not in sizes
    assert max(sizes) <= 1024


# --- the key ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("digits", [True, False])
def test_a_key_is_taken_raw_or_in_digits(board, digits, end):
    modulus = public_bytes(KEY)
    data = modulus.hex().upper().encode() + end if digits else modulus
    (board.root / "update.key").write_bytes(data)
    board.boot()
    assert board.send(image()) == 0
    board.settle()
    assert board.say()[0] == UpdateState.READY


@pytest.mark.parametrize("end", [b"0", b"00", b"\r\nx", b"\n0\n"])
def test_a_key_with_anything_behind_it_is_none(board, end):
    (board.root / "update.key").write_bytes(public_bytes(KEY).hex().encode() + end)
    board.boot()
    assert board.say()[0] == UpdateState.UNSUPPORTED


def test_a_key_that_is_lost_meanwhile_lets_nothing_in(board):
    new = image()
    board.send(new, end=loader.FIRST_BYTES - 2)
    (board.root / "update.key").unlink()
    board.update.receive(510, new, 510, 2)
    board.settle()
    board.update.step(1000, 0)
    assert board.send(new, 512) == ADDRESS
    assert board.say() == (UpdateState.IDLE, UpdateResult.REFUSED_SIGNATURE)
