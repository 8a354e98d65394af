"""Faults of the emulated chain, injected by name."""

import pytest
from ltc6813_host import WRCFGA, Host, framed


def test_a_corrupted_answer_shows_in_its_pec_once():
    host = Host().awake()
    host.front.chain.faults.corrupt_answer_next = 1
    assert host.read(0x002) == [None]
    assert host.read(0x002) != [None]


def test_a_corrupted_request_is_dropped():
    host = Host().awake()
    host.front.chain.faults.corrupt_request_next = 1
    assert host.read(0x002) == [None]
    assert host.front.chain.ignored.command_pec + host.front.chain.chips[0].ignored.data_pec == 1
    assert host.read(0x002) != [None]


@pytest.mark.parametrize("level", [0x00, 0xFF])
def test_a_stuck_line_answers_the_same_for_ever_while_chips_still_hear(level):
    host = Host().awake()
    host.front.chain.faults.miso_stuck = level
    assert set(host.front.spi(framed(b"\0\2") + bytes(8))) == {level}
    assert host.read(0x002) == [None]
    host.write(WRCFGA, bytes((0xF8, 0, 0, 0, 1, 0)))
    assert host.front.balance_mask == 1


@pytest.mark.parametrize("dead_from", [0, 1, 2])
def test_a_chain_broken_above_a_chip_answers_below_it(dead_from):
    host = Host(54).awake()
    host.front.chain.faults.dead_from = dead_from
    groups = host.read(0x002)
    assert [group is not None for group in groups] == [k < dead_from for k in range(3)]
    data = host.send(0x002, bytes(24))
    assert set(data[8 * dead_from :]) == {0xFF}
    host.write(0x721, *[bytes((k,)) * 6 for k in range(3)])
    assert host.read(0x722)[:dead_from] == [bytes((k,)) * 6 for k in range(dead_from)]


def test_a_chip_that_was_reset_sleeps_and_has_forgotten_while_the_others_go_on():
    host = Host(36).awake()
    host.write_all(WRCFGA, bytes((0xFC, 0x11, 0, 0, 0, 0)))
    host.front.chain.chips[1].power_on_reset()
    groups = host.read(0x002)
    assert groups[0] is not None
    assert groups[1] is None
    host.wait(400)
    groups = host.read(0x002)
    assert [group[1] for group in groups if group is not None] == [0x11, 0]
