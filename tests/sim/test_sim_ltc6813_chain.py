"""The emulated LTC6813-1 on its wire: PEC, frames, wake-up, watchdog, commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ltc6813_host import (
    ADAX,
    ADCV,
    ADCV_26HZ,
    ADCV_FAST,
    ADSTAT,
    CLRAUX,
    CLRCELL,
    CLRSTAT,
    DIAGN,
    MUTE,
    PLADC,
    RDAUX,
    RDCFGA,
    RDCFGB,
    RDCOMM,
    RDCV,
    RDPWM,
    RDSTATA,
    RDSTATB,
    REFON,
    UNMUTE,
    WRCFGA,
    WRCFGB,
    WRCOMM,
    WRPWM,
    Host,
    framed,
    pec_bits,
)

from sim.ltc6813 import NotModelledError, UnknownCommandError, pec15
from sim.ltc6813.adc import SLOWEST
from sim.ltc6813.commands import COMMANDS

VECTORS = {
    0x0001: 0x3D6E,
    0x0002: 0x2B0A,
    0x0004: 0x07C2,
    0x0006: 0x9A94,
    0x0024: 0xB19E,
    0x0360: 0xF46C,
    0x0368: 0x1C62,
    0x0328: 0xFBE8,
}


@pytest.mark.parametrize(("code", "pec"), VECTORS.items())
def test_the_pec_of_known_commands(code, pec):
    assert int.from_bytes(pec15(code.to_bytes(2))) == pec


@given(st.binary(max_size=20))
def test_the_pec_is_that_of_the_shift_register(data):
    assert pec15(data) == pec_bits(data)


def test_a_chain_out_of_power_on_loses_the_byte_that_wakes_it():
    host = Host(36)
    assert host.read(RDCFGA) == [None, None]  # this woke them
    host.wait(800)
    assert host.read(RDCFGA) == [bytes((0x02, 0, 0, 0, 0, 0))] * 2


def test_each_chip_wakes_the_next_after_its_own_time():
    host = Host(72)
    host.front.spi(b"\xff")
    woken = []
    for _ in range(18):
        woken.append(sum(group is not None for group in host.read(RDCFGA)))
        host.wait(1)
    assert woken == sorted(woken)
    assert set(woken) == {0, 1, 2, 3, 4}
    late = Host(72)
    late.front.spi(b"\xff")
    late.wait(4 * 400 - 20)
    assert late.read(RDCFGA)[3] is None
    late.wait(10)
    assert None not in late.read(RDCFGA)


def test_ports_go_idle_and_wake_within_ten_microseconds():
    host = Host(36).awake()
    assert None not in host.read(RDCFGA)
    host.wait(4200)
    assert None not in host.read(RDCFGA)
    host.wait(4400)
    assert host.read(RDCFGA) == [None, None]  # lost, but it woke them
    host.wait(20)
    assert None not in host.read(RDCFGA)
    assert host.front.chain.chips[0].ignored.not_awake == 2


def test_written_frames_go_to_the_topmost_chip_first():
    host = Host(54).awake()
    groups = [bytes((k, 1, 2, 3, 4, 5)) for k in range(3)]
    host.write(WRCOMM, *groups)
    assert host.read(RDCOMM) == groups


def test_a_frame_with_a_wrong_pec_leaves_that_chip_alone_unwritten():
    host = Host(54).awake()
    before, after = bytes(6), b"\x11" * 6
    frames = [framed(after), framed(after)[:-1] + b"\x00", framed(after)]
    host.send(WRCOMM, b"".join(frames))
    assert host.read(RDCOMM) == [after, before, after]
    assert [chip.ignored.data_pec for chip in host.front.chain.chips] == [0, 1, 0]


def test_too_few_frames_reach_the_lowest_chips():
    host = Host(54).awake()
    host.send(WRCOMM, framed(b"\x22" * 6))
    assert host.read(RDCOMM) == [b"\x22" * 6, bytes(6), bytes(6)]
    assert [chip.ignored.data_pec for chip in host.front.chain.chips] == [0, 1, 1]


@given(st.integers(0, 0xFFFF), st.integers(1, 0xFFFF))
def test_a_command_with_a_wrong_pec_changes_nothing_and_is_counted(code, wrong):
    host = Host().awake()
    host.write(WRCFGA, bytes((0xFC, 1, 2, 3, 0x55, 0x01)))
    host.write(WRCOMM, b"\x5a" * 6)
    host.measured()
    state = [host.read(code) for code in (RDCFGA, RDCFGB, RDCOMM, RDPWM, *RDCV, RDSTATB)]
    command = framed(code.to_bytes(2))
    spoiled = command[:2] + (int.from_bytes(command[2:]) ^ wrong).to_bytes(2)
    assert set(host.front.spi(spoiled + bytes(8))) == {0xFF}
    assert [host.read(code) for code in (RDCFGA, RDCFGB, RDCOMM, RDPWM, *RDCV, RDSTATB)] == state
    assert host.front.chain.chips[0].ignored.command_pec == 1
    assert host.front.chain.ignored.command_pec == 1


@given(st.lists(st.binary(max_size=24), max_size=12), st.integers(0, 4))
def test_no_stream_of_bytes_breaks_the_chain(streams, valid):
    host = Host(40).awake()
    for k, stream in enumerate(streams):
        out = framed(stream[:2]) + stream[2:] if k < valid and len(stream) >= 2 else stream
        try:
            assert len(host.front.spi(out)) == len(out)
        except (UnknownCommandError, NotModelledError):
            assert k < valid
        host.wait(200)


@given(st.integers(0, 0xFFFF).filter(lambda code: code not in COMMANDS))
def test_a_command_that_does_not_exist_is_the_drivers_mistake(code):
    host = Host().awake()
    with pytest.raises(UnknownCommandError, match=f"0x{code:04X}"):
        host.send(code)


def test_every_command_is_understood():
    for code, command in COMMANDS.items():
        host = Host().awake()
        if command.name == "STCOMM":
            with pytest.raises(NotModelledError, match="STCOMM"):
                host.send(code)
        else:
            host.send(code, bytes(8))


@pytest.mark.parametrize("bits", [0x40, 0x20, 0x10, 0x08])
def test_what_is_not_modelled_is_refused_loudly(bits):
    host = Host().awake()
    with pytest.raises(NotModelledError, match="DTMEN"):
        host.write(WRCFGB, bytes((0x0F, bits, 0, 0, 0, 0)))
    host.write(0x014, b"\x11" * 6)
    with pytest.raises(NotModelledError, match="STSCTRL"):
        host.send(0x019)


def test_configuration_reads_back_but_for_what_pins_and_timers_say():
    host = Host().awake()
    host.write(WRCFGA, bytes((0xFD, 0x12, 0x34, 0x56, 0xA5, 0x0C)))
    host.write(WRCFGB, bytes((0xFF, 0x03, 9, 9, 9, 9)))
    # the reference is not up yet: thermistors pull GPIO1 to GPIO4 low; DTEN reads 1
    assert host.read(RDCFGA)[0] == bytes((0x07, 0x12, 0x34, 0x56, 0xA5, 0x0C))
    assert host.read(RDCFGB)[0] == bytes((0xF0, 0x03, 0, 0, 0, 0))
    host.front.chain.faults.thermistors[0, 1] = "open"
    host.wait(4400)
    host.wake()
    first = host.read(RDCFGA)[0]
    assert first is not None
    assert first[0] == 0x0F  # GPIO1 is at VREF2 now


def test_results_read_ones_before_the_first_conversion_and_when_cleared():
    host = Host().awake()
    assert host.cells() == [0xFFFF] * 18
    assert host.words(*RDAUX[:3]) == [0xFFFF] * 9
    assert host.words(RDSTATA) == [0xFFFF] * 3
    for start, read, clear in (
        (ADCV, RDCV, CLRCELL),
        (ADAX, RDAUX[:3], CLRAUX),
        (ADSTAT, (RDSTATA,), CLRSTAT),
    ):
        host.convert(start)
        assert 0xFFFF not in host.words(*read)
        host.send(clear)
        assert set(host.words(*read)) == {0xFFFF}


def test_clearing_the_status_sets_its_flags_and_reading_clears_the_thermal_one():
    host = Host().awake()
    host.send(CLRSTAT)
    assert host.read(RDSTATB)[0] == b"\xff\xff\xff\xff\xff\x03"
    assert host.read(RDSTATB)[0] == b"\xff\xff\xff\xff\xff\x02"
    group = host.read(RDAUX[3])[0]
    assert group is not None
    assert group[4:] == b"\xff\xff"


def test_the_multiplexer_test_clears_its_flag_unless_it_fails():
    host = Host(36).awake()
    host.front.chain.faults.mux_fails = {1}
    host.convert(DIAGN)
    groups = host.read(RDSTATB)
    assert [group[5] & 2 for group in groups if group is not None] == [0, 2]


TIMES_US = {ADCV: 2335, ADCV_FAST: 1113, ADCV_26HZ: 201_317, ADAX: 3862, ADSTAT: 1563, 0x361: 405}


@pytest.mark.parametrize(("code", "typical_us"), TIMES_US.items())
def test_a_conversion_takes_its_time_after_the_reference(code, typical_us):
    host = Host().awake()
    host.send(code)
    chip = host.front.chain.chips[0]
    began_us = host.front.now_us
    assert chip.busy(began_us + 4390 + typical_us)
    assert not chip.busy(began_us + 4400 + SLOWEST * typical_us + 1)
    host.wait(500_000)
    host.wake()
    host.write(WRCFGA, REFON)
    host.wait(4400)
    host.wake()
    host.send(code)
    assert chip.busy(host.front.now_us + typical_us)
    assert not chip.busy(host.front.now_us + SLOWEST * typical_us + 1)


def test_adcopt_chooses_the_other_rates():
    host = Host().awake()
    host.write(WRCFGA, bytes((0xFD, 0, 0, 0, 0, 0)))
    host.wait(4300)
    host.wake()
    chip = host.front.chain.chips[0]
    for md, typical_us in enumerate((7230, 1288, 3033, 4430)):
        host.send(0x260 | md << 7)
        assert chip.busy(host.front.now_us + typical_us)
        assert not chip.busy(host.front.now_us + SLOWEST * typical_us + 1)


def test_old_results_stay_until_the_conversion_has_ended():
    host = Host(cell_v=3.0).awake()
    host.write(WRCFGA, REFON)
    host.measured()
    host.volts = [4.0] * 18
    host.step(0.001)
    host.wake()
    host.send(ADCV)
    host.wait(1000)
    assert host.cells()[0] == pytest.approx(30_000, abs=25)
    host.wait(2000)
    assert host.cells()[0] == pytest.approx(40_000, abs=25)


def test_polling_is_low_while_any_chip_converts():
    host = Host(54).awake()
    host.write_all(WRCFGA, REFON)
    host.wait(4200)
    host.wake()
    assert host.send(PLADC, bytes(2)) == b"\x1f\xff"  # a bit of each chip comes first
    assert host.send(ADCV, bytes(3)) == bytes(3)
    assert host.send(PLADC, bytes(1)) == b"\0"
    host.wait(2500)
    assert host.send(PLADC, bytes(1)) == b"\x1f"


def test_the_watchdog_forgets_everything_after_two_seconds():
    host = Host().awake()
    host.write(WRCFGA, REFON)
    host.measured()
    host.wait(1_900_000)
    host.wake()
    first = host.read(RDCFGA)[0]
    assert first is not None
    assert first[0] & 4
    for _ in range(5):
        host.wait(1_900_000)  # a valid command starts it again
        host.wake()
        assert 0xFFFF not in host.cells()
    host.wait(2_010_000)
    assert host.read(RDCFGA) == [None]
    host.wait(400)
    assert host.read(RDCFGA)[0] == bytes((0x02, 0, 0, 0, 0, 0))
    assert host.cells() == [0xFFFF] * 18


def test_a_wake_up_alone_does_not_feed_the_watchdog():
    host = Host().awake()
    host.write(WRCFGA, REFON)
    for _ in range(5):
        host.wait(410_000)
        host.front.spi(b"\xff")
    host.wait(400)
    assert host.read(RDCFGA)[0] == bytes((0x02, 0, 0, 0, 0, 0))


def test_muting_shows_in_the_configuration():
    host = Host().awake()
    host.write(WRCFGB, bytes((0x1F, 0x01, 0, 0, 0, 0)))
    host.send(MUTE)
    assert host.read(RDCFGB)[0] == bytes((0x10, 0x81, 0, 0, 0, 0))
    assert host.front.balance_mask == 0
    host.send(UNMUTE)
    assert host.read(RDCFGB)[0] == bytes((0x10, 0x01, 0, 0, 0, 0))
    assert host.front.balance_mask == 1 << 12 | 1 << 16


def test_pulse_widths_are_kept():
    host = Host().awake()
    assert host.read(RDPWM)[0] == b"\xff" * 6
    host.write(WRPWM, b"\x12" * 6)
    assert host.read(RDPWM)[0] == b"\x12" * 6
