"""An image on trial: kept when it is healthy in its time, else taken back."""

import pytest
from update_board import CHUNK, FAILURE, KEY, Board, full, image, on_trial

from common.update_codes import UpdateResult, UpdateState
from firmware import loader
from firmware.snapshot import Snapshot


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path, KEY, image((0, 1, 0), size=1000))


def test_an_image_that_is_never_healthy_is_taken_back(board, capsys):
    on_trial(board, image())
    snapshot = Snapshot(3)
    snapshot.uptime_s, snapshot.seq = 599, 600
    board.update.supervise(snapshot)
    assert (board.get("Left"), board.update.restart) == (1, False)
    assert board.get("Seq") == board.get("SeqEnd") == 600
    snapshot.uptime_s = 600
    board.update.supervise(snapshot)
    assert (board.get("Left"), board.update.restart) == (0, True)
    board.boot()
    assert board.slot == 0
    assert board.say() == (UpdateState.IDLE, UpdateResult.NOT_HEALTHY)
    board.update.supervise(snapshot)
    assert board.get("Left") is None


def test_nothing_is_received_on_trial(board):
    new = image()
    on_trial(board, new)
    assert board.update.receive(0, new, 0, CHUNK) == FAILURE
    assert not board.update.abandon()
    assert not board.update.start()
    assert not board.update.busy


def test_an_image_that_cannot_say_it_is_healthy_stays_on_trial(board, monkeypatch, capsys):
    on_trial(board, image())
    with monkeypatch.context() as patch:
        patch.setattr(loader.Record, "save", full)
        board.update.step(1000, 60)
    assert capsys.readouterr().out == "update: [Errno 28] full\n"
    assert board.say() == (UpdateState.TRIAL, UpdateResult.NONE)
    board.update.step(0, 61)
    assert board.say() == (UpdateState.IDLE, UpdateResult.DONE)


def test_a_second_update_goes_into_the_first_slot(board):
    on_trial(board, image())
    board.update.step(1000, 60)
    newer = image((0, 3, 0))
    on_trial(board, newer)
    assert board.slot == 0
    assert (board.root / "image.0").read_bytes() == newer
    board.update.step(1000, 60)
    record = loader.Record(str(board.root))
    assert (record.active, record.trial, record.lowest) == (0, loader.NONE, 3 << 16)


def test_the_end_of_a_trial_is_told_once(board, capsys):
    on_trial(board, image())
    snapshot = Snapshot(3)
    snapshot.uptime_s = 601
    for _ in range(3):
        board.update.supervise(snapshot)
        assert board.get("Left") == 0
    assert capsys.readouterr().out == "update: not healthy in 600 s\n"
    assert board.update.restart


def test_what_is_not_on_trial_has_no_end(board):
    snapshot = Snapshot(3)
    snapshot.uptime_s, snapshot.seq = 5000, 0
    board.update.supervise(snapshot)
    assert not board.update.restart
    assert (board.get("Left"), board.get("Seq"), board.get("SeqEnd")) == (None, None, None)


def test_a_healthy_image_says_so_and_the_former_one_is_told(board, capsys):
    old, new = (board.root / "image.0").read_bytes(), image()
    on_trial(board, new)
    assert (board.get("Have"), board.get("Size")) == (0, None)
    board.update.step(1000, 60)
    assert capsys.readouterr().out == "update: image.1 is healthy\n"
    assert (board.get("Have"), board.get("Size")) == (len(old), len(old))


def test_a_lower_version_that_is_healthy_lets_no_older_one_in(board):
    """As after ``echelon flash usb``, which looks at no version."""
    record = loader.Record(str(board.root))
    record.lowest = 9 << 16
    record.active, record.trial = 0, 1
    record.save()
    (board.root / "image.1").write_bytes(image((0, 2, 0)))
    board.boot()
    board.update.step(1000, 60)
    assert board.say() == (UpdateState.IDLE, UpdateResult.DONE)
    assert loader.Record(str(board.root)).lowest == 9 << 16


def test_a_trial_whose_file_was_damaged_meanwhile_ends_all_the_same(board):
    on_trial(board, image())
    (board.root / "image.1").write_bytes(b"?" * 600)
    board.update.step(1000, 60)
    assert board.say() == (UpdateState.IDLE, UpdateResult.DONE)
    assert loader.Record(str(board.root)).lowest == 0


def test_a_trial_without_a_key_ends_and_no_other_follows(board):
    on_trial(board, image())
    (board.root / "update.key").unlink()
    board.update.step(1000, 60)
    assert board.say() == (UpdateState.UNSUPPORTED, UpdateResult.DONE)
    assert board.update.receive(0, image(), 0, CHUNK) == FAILURE
