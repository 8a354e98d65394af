"""The emulated LTC6813-1 balances: discharge bits, timers, pulse widths, bled readings."""

import pytest
from ltc6813_host import (
    ADCV,
    CLRSTAT,
    PERMIT,
    RDCFGA,
    RDSTATB,
    WRCFGA,
    WRCFGB,
    WRPWM,
    Host,
    no_noise,
)

from sim.ltc6813.inputs import BLEED_OHM


def discharge(host: Host, cells: int, dcto: int = 0) -> None:
    """Set the discharge bits of ``cells`` (bit 0 = cell 1) in both configuration groups."""
    host.write(WRCFGA, bytes((0xF8, 0, 0, 0, cells & 0xFF, dcto << 4 | cells >> 8 & 0xF)))
    host.write(WRCFGB, bytes(((cells >> 12 & 0xF) << 4 | 0xF, cells >> 16 & 3, 0, 0, 0, 0)))


def test_the_discharge_bits_are_those_of_the_cells():
    host = Host().awake()
    for cell in range(18):
        discharge(host, 1 << cell)
        assert host.front.balance_mask == 1 << cell


def test_bits_above_the_top_cell_bleed_nothing():
    host = Host(16).awake()
    discharge(host, 0x3FFFF)
    assert host.front.balance_mask == 0xFFFF


def test_a_bled_cell_reads_low_only_where_bleeding_is_permitted():
    host = no_noise(Host()).awake()
    discharge(host, 1 << 4)
    assert host.measured() == [37_000] * 18
    codes = host.measured(ADCV | PERMIT)
    drawn_mv = 3700 / BLEED_OHM  # in a wire of one ohm
    assert codes[4] == pytest.approx(37_000 - 20 * drawn_mv, abs=1)
    assert codes[3] == codes[5] == pytest.approx(37_000 + 10 * drawn_mv, abs=1)
    assert codes[2] == codes[6] == 37_000


def test_between_two_bled_cells_the_wire_carries_nothing():
    host = no_noise(Host()).awake()
    discharge(host, 0b11 << 4)
    codes = host.measured(ADCV | PERMIT)
    drawn_mv = 3700 / BLEED_OHM
    assert codes[4] == codes[5] == pytest.approx(37_000 - 10 * drawn_mv, abs=1)
    assert codes[3] == codes[6] == pytest.approx(37_000 + 10 * drawn_mv, abs=1)


def test_a_cell_with_a_broken_wire_cannot_be_bled():
    host = Host().awake()
    discharge(host, 0x3F)
    host.front.chain.faults.open_wires = {(0, 2)}
    assert host.front.balance_mask == 0x3F & ~0b110


def keep_awake(host: Host, minutes: float) -> None:
    for _ in range(round(minutes * 60)):
        host.wait(1_000_000)
        host.wake()
        host.cells()


def test_without_the_timer_bleeding_ends_with_the_watchdog():
    host = Host().awake()
    discharge(host, 0x3)
    host.wait(1_990_000)
    assert host.front.balance_mask == 0x3
    host.wait(20_000)
    assert host.front.balance_mask == 0


def test_with_the_timer_bleeding_goes_on_in_a_silent_chip_and_ends_by_itself():
    host = Host().awake()
    discharge(host, 0x3, dcto=2)  # a minute
    host.wait(59e6)
    assert host.front.balance_mask == 0x3
    host.wait(2e6)
    assert host.front.balance_mask == 0
    host.wake()
    assert host.read(RDCFGA)[0] == bytes((0x02, 0, 0, 0, 0, 0))


def test_the_timer_shows_what_is_left_and_clears_the_bits_of_a_chip_that_is_awake():
    host = Host().awake()
    host.write(WRCFGA, bytes((0xFC, 0x11, 0, 0, 0x81, 2 << 4)))
    first = host.read(RDCFGA)[0]
    assert first is not None
    assert first[5] >> 4 == 2
    keep_awake(host, 0.75)
    later = host.read(RDCFGA)[0]
    assert later is not None
    assert (later[4], later[5] >> 4) == (0x81, 1)
    keep_awake(host, 0.4)
    ended = host.read(RDCFGA)[0]
    assert ended is not None
    assert (ended[4], ended[5]) == (0, 0)
    assert ended[0] & 4  # the watchdog did not bite, so the reference is still on
    assert ended[1] == 0x11


def test_the_watchdog_clears_the_limits_while_the_timer_keeps_the_bits():
    host = Host().awake()
    host.write(WRCFGA, bytes((0xFC, 0x11, 0x22, 0x33, 0x81, 5 << 4)))
    host.measured()
    host.wait(2.1e6)
    host.wake()
    assert host.read(RDCFGA)[0] == bytes((0x02, 0, 0, 0, 0x81, 5 << 4))
    assert 0xFFFF not in host.cells()  # it never slept


def test_without_its_pin_the_timer_does_not_run():
    host = Host()
    host.front.chain.chips[0]._dten = False
    host.wake()
    discharge(host, 0x3, dcto=2)
    group = host.read(RDCFGA)[0]
    assert group is not None
    assert (group[0] & 2, group[5] >> 4) == (0, 0)
    host.wait(2.1e6)
    assert host.front.balance_mask == 0


def test_pulse_width_counts_once_the_watchdog_has_run_out():
    host = Host().awake()
    host.write(WRPWM, bytes((0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)))  # cell 1 never, cell 2 a fifth
    discharge(host, 0x7, dcto=5)
    assert host.front.balance_mask == 0x7
    host.wait(2.1e6)
    seen = []
    for _ in range(60):
        seen.append(host.front.balance_mask)
        host.wait(1e6)
    assert sum(mask & 1 for mask in seen) == 0
    assert sum(mask >> 1 & 1 for mask in seen) == 12
    assert sum(mask >> 2 & 1 for mask in seen) == 60


def test_a_hot_die_opens_every_switch():
    host = Host().awake()
    discharge(host, 0x7)
    host.die_c = 151.0
    host.step(0.001)
    assert host.front.balance_mask == 0
    host.wake()
    first, second = host.read(RDSTATB)[0], host.read(RDSTATB)[0]
    assert first is not None
    assert second is not None
    assert (first[5] & 1, second[5] & 1) == (1, 0)


def test_clearing_the_status_does_not_stop_balancing():
    host = Host().awake()
    discharge(host, 0x7)
    host.send(CLRSTAT)
    assert host.front.balance_mask == 0x7
