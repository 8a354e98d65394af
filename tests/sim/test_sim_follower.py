"""The charger and load that follow a board: what they drive, and when they stop by themselves."""

from types import SimpleNamespace

import pytest

from sim import station as st
from sim.bench import Rest
from sim.follower import STALE_S, Follower
from sim.pack import OPEN, Demand, PackSpec


class World:
    """Time, one board, and actions that are called by hand."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.actions: list = []
        self.board = SimpleNamespace(state=st.WAITING)

    def at(self, time_s: float, action: object) -> None:
        self.actions.append((time_s, action))

    def station(self, _: object) -> object:
        return self.board

    def next(self) -> None:
        self.time_s, action = self.actions.pop(0)
        action()


class Desk:
    def __init__(self) -> None:
        self.world = World()
        self.pack = SimpleNamespace(
            spec=PackSpec("F", n_cells=4, tcp_port=1), demand=OPEN, current_a=0.0
        )
        self.follower = Follower(self.world, self.pack, period_s=0.5)
        self.block = {
            "Seq": 1, "SeqEnd": 1, "ReqA": 0.0, "Ccl": 10.0, "Dcl": 20.0, "Cvl": 16.8,
        }  # fmt: skip
        self.follower._read = lambda: self.block

    def look(self, **changes: object) -> Demand:
        if self.block is not None:
            self.block["Seq"] += 1
            self.block["SeqEnd"] += 1
            self.block.update(changes)
        self.world.next()
        return self.pack.demand


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    ("asked_a", "demand"),
    [
        (5.0, Demand(5.0, 16.8)),
        (15.0, Demand(10.0, 16.8)),
        (-15.0, Demand(-15.0)),
        (-25.0, Demand(-20.0)),
        (0.0, OPEN),
        (None, OPEN),
    ],
)
def test_it_drives_what_is_asked_for_within_the_limits(
    desk: Desk, asked_a: float | None, demand: Demand
) -> None:
    assert desk.look(ReqA=asked_a) == demand


def test_an_unknown_limit_is_none_at_all(desk: Desk) -> None:
    assert desk.look(ReqA=5.0, Cvl=None) == OPEN
    assert desk.look(ReqA=5.0, Cvl=16.8, Ccl=None).current_a == 0
    assert desk.look(ReqA=-5.0, Dcl=None).current_a == 0


def test_it_stops_when_the_board_cannot_be_read(desk: Desk) -> None:
    desk.look(ReqA=5.0)
    desk.block = None
    assert desk.look() == OPEN
    assert desk.follower.failures == 1
    assert desk.follower.log == [(0.5, 5.0), (1.0, 0.0)]


def test_it_stops_for_a_torn_block_and_goes_on_with_a_whole_one(desk: Desk) -> None:
    assert desk.look(ReqA=5.0, SeqEnd=1) == OPEN
    desk.block["SeqEnd"] = desk.block["Seq"]
    assert desk.look().current_a == 5.0


def test_it_stops_when_the_board_hangs_with_a_request_standing(desk: Desk) -> None:
    desk.look(ReqA=5.0)
    while desk.world.time_s < STALE_S + 0.4:
        desk.world.next()
        assert desk.pack.demand.current_a == 5.0
    desk.world.next()
    desk.world.next()
    assert desk.pack.demand == OPEN


def test_a_board_that_is_off_is_not_followed_and_one_that_sends_is_asked_again(
    desk: Desk,
) -> None:
    desk.look(ReqA=5.0)
    desk.world.board.state = st.SENDING
    desk.world.next()
    assert desk.pack.demand.current_a == 5.0
    desk.world.board.state = st.OFF
    desk.world.next()
    assert desk.pack.demand == OPEN


def test_once_stopped_it_follows_no_longer(desk: Desk) -> None:
    desk.look(ReqA=5.0)
    desk.follower.stop()
    assert desk.pack.demand == OPEN
    assert desk.look(ReqA=5.0) == OPEN
    assert not desk.world.actions


def test_nobody_listens_where_nobody_is(desk: Desk) -> None:
    del desk.follower._read
    desk.world.next()
    assert desk.pack.demand == OPEN
    assert desk.follower.failures == 1


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (PackSpec("F"), "tcp_port"),
        (PackSpec("F", tcp_port=1, program=(Rest(1.0),)), "program"),
    ],
)
def test_a_pack_without_a_port_or_with_a_tester_cannot_be_followed(
    spec: PackSpec, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Follower(World(), SimpleNamespace(spec=spec, demand=OPEN))
