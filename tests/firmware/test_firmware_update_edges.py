"""The edges of an update: its buffer, its steps, its times, and what fails on the way."""

import pytest
from update_board import KEY, Board, image

from common.update_codes import UpdateResult, UpdateState
from firmware import loader


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path, KEY, image((0, 1, 0), size=1000))


def test_the_former_image_stays_though_it_is_sent_again_and_refused(board):
    old = (board.root / "image.0").read_bytes()
    board.send(image())
    board.settle()
    board.try_it()
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
