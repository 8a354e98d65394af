"""Records of the history: what is coded comes back, the chain sees every bit, rubbish is told."""

import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import history_records as hr
from common.history_records import BODIES, READING, Coder, HistoryError, Record

N_CELLS = 5
EVENTS = [kind for kind, body in enumerate(BODIES) if body]

heads = st.fixed_dictionaries(
    {
        "boot": st.integers(0, 0xFFFFFFFE),
        "run_s": st.integers(0, 0xFFFFFFFE),
        "utc_s": st.none() | st.integers(0, 0xFFFFFFFE),
    }
)
dc = st.none() | st.integers(-0x7FFF, 0x7FFF)
bp = st.none() | st.integers(0, 0xFFFE)
amounts = st.integers(-0x7FFFFFFF, 0x7FFFFFFF)


@st.composite
def records(draw, n_cells=N_CELLS):
    record = Record(n_cells)
    for name, value in draw(heads).items():
        setattr(record, name, value)
    record.quality = 0 if record.utc_s is None else draw(st.integers(1, 255))
    record.kind = draw(st.sampled_from([READING, READING, READING, *EVENTS]))
    if record.kind != READING:
        size = struct.calcsize("<" + BODIES[record.kind])
        record.body = draw(st.binary(min_size=size, max_size=size))
        return record
    cells = st.integers(0, 0xFFFE) if draw(st.booleans()) else st.none()
    record.values = [
        *draw(st.lists(cells, min_size=n_cells, max_size=n_cells)),
        draw(bp),
        draw(amounts),
        draw(st.none() | amounts),
        *draw(st.lists(dc, min_size=6, max_size=6)),
        draw(bp),
        draw(st.none() | st.integers(0, 0xFE)),
        draw(st.integers(0, 0xFFFFFFFE)),
    ]
    return record


def stored(many, n_cells=N_CELLS):
    """The records one behind the other, and where each ends."""
    coder, into, ends = Coder(n_cells), bytearray(4096), [0]
    for record in many:
        end = coder.encode(record, into, ends[-1])
        assert end - ends[-1] <= hr.stored_bytes(n_cells)
        ends.append(end)
    return bytes(into[: ends[-1]]), ends


def decoded(data, count, n_cells=N_CELLS):
    coder, at, found = Coder(n_cells), 0, []
    for _ in range(count):
        record = Record(n_cells)
        at = coder.decode(data, at, len(data), record)
        found.append(record)
    assert at == len(data)
    return found


@settings(max_examples=500, deadline=None)
@given(st.lists(records(), min_size=1, max_size=6))
def test_records_come_back_as_they_were(many):
    data, _ends = stored(many)
    for was, came in zip(many, decoded(data, len(many)), strict=True):
        assert came.canonical() == was.canonical()
        assert came.kind == was.kind
        if was.kind == READING:
            assert came.values == was.values


@settings(max_examples=200, deadline=None)
@given(st.lists(records(), min_size=1, max_size=4), st.data())
def test_what_is_cut_off_is_told(many, data):
    whole, ends = stored(many)
    cut = data.draw(st.integers(0, len(whole) - 1))
    complete = sum(end <= cut for end in ends[1:])
    coder, at = Coder(N_CELLS), 0
    for n in range(complete):
        at = coder.decode(whole, at, cut, Record(N_CELLS))
        assert at == ends[n + 1]
    with pytest.raises(HistoryError):
        coder.decode(whole, at, cut, Record(N_CELLS))


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=120))
def test_rubbish_is_an_error_or_a_record_that_can_be(rubbish):
    coder, at = Coder(N_CELLS), 0
    while at < len(rubbish):
        record = Record(N_CELLS)
        try:
            at = coder.decode(rubbish, at, len(rubbish), record)
            record.canonical()
        except (HistoryError, struct.error):
            return
        again, _ends = stored([record])
        assert decoded(again, 1)[0].canonical() == record.canonical()


def reading(number=7, n_cells=2):
    record = Record(n_cells)
    record.number, record.boot, record.run_s, record.quality = number, 3, 3600, 1
    record.utc_s = 1_790_000_000
    record.values = [3700, 3712, 5500, -25000, -1500, 300, 312, 251, None, -40, 0, None, 3, 0]
    return record


def test_the_canonical_bytes_are_those_of_the_documentation():
    assert reading().canonical().hex() == (
        "070000000103000000100e000001803bb16a"
        "02740e800e7c15589effff24faffff2c013801fb000080d8ff0000"
        "ffff0300000000"
    )  # fmt: skip


def test_a_reading_that_was_not_measured_has_no_figure_that_was():
    record = reading()
    record.values = [None] * 14
    record.values[hr.FAULTS + 2], record.values[hr.CHARGE + 2] = 5, 17
    data, _ends = stored([reading(), record, reading(9)], 2)
    one, two, three = decoded(data, 3, 2)
    assert two.values == [None, None, None, 17, *[None] * 9, 5]
    assert three.values == one.values == reading().values
    assert two.canonical()[19:23] == b"\xff\xff\xff\xff"


def test_the_chain_is_that_of_sha_256_over_all_before():
    chain = hr.first_chain(b"EC-1")
    assert chain == hashlib.sha256(b"EC-1").digest()
    one, two = reading(1).canonical(), reading(2).canonical()
    chain = hr.next_chain(hr.next_chain(chain, one), two)
    first = hashlib.sha256(hashlib.sha256(b"EC-1").digest() + one).digest()
    assert chain == hashlib.sha256(first + two).digest()


@pytest.mark.parametrize("place", range(hr.N_VALUES + 2))
def test_the_chain_changes_with_every_value(place):
    changed = reading()
    value = changed.values[place]
    changed.values[place] = 1 if value is None else value + 1
    assert changed.canonical() != reading().canonical()


def test_a_body_says_unknown_with_the_sentinel_of_its_type():
    body = hr.pack(BODIES[hr.FAULT], 3, 1, None, 4200, None, None, 250, None, None)
    assert struct.unpack("<" + BODIES[hr.FAULT], body) == (
        3, 1, 0xFFFF, 4200, -0x80000000, -0x8000, 250, 0xFFFF, -0x80000000,
    )  # fmt: skip


def test_a_reading_of_a_pack_at_rest_takes_little():
    last = reading()
    last.run_s += 60
    last.utc_s += 60
    data, ends = stored([reading(), last], 2)
    assert ends[2] - ends[1] == 6, data.hex()


# --- each byte of what is stored ----------------------------------------------------------------


def event(kind, *values, run_s=5, boot=1, utc_s=None):
    record = Record(2)
    record.kind, record.run_s, record.boot, record.utc_s = kind, run_s, boot, utc_s
    record.quality = 0 if utc_s is None else 1
    record.body = hr.pack(BODIES[kind], *values)
    return record


def measured(*values, run_s=5):
    record = Record(2)
    record.boot, record.run_s = 1, run_s
    record.values = list(values)
    return record


NONE = [None] * 12


@pytest.mark.parametrize(
    ("many", "as_hex"),
    [
        ([event(hr.COMMAND, 3, 1)], "13 02 0a 0300 01"),
        ([event(hr.COMMAND, 3, 1, boot=64)], "13 8001 0a 0300 01"),
        ([event(hr.LOST, 9, boot=0, run_s=0)], "08 00 09000000"),
        ([event(hr.TIME, None, 7, utc_s=70)], "37 02 01 8201 0a ffffffff 07000000"),
        ([event(hr.LOST, 1), event(hr.LOST, 2, run_s=4)], "18 02 0a 01000000 08 01 02000000"),
        (
            [event(hr.LOST, 1, utc_s=5), event(hr.LOST, 2), event(hr.LOST, 3, utc_s=6)],
            "38 02 01 00 0a 01000000 28 00 00 00 02000000 28 01 02 00 03000000",
        ),
        (
            [event(hr.LOST, 1, boot=3, utc_s=9), event(hr.LOST, 2, boot=5, utc_s=11)],
            "38 06 01 08 0a 01000000 38 04 01 04 00 02000000",
        ),
        ([measured(0, 193, *NONE)], "11 02 0a c001 bf01 c201 00"),
        ([measured(0, 128, *NONE)], "11 02 0a 8001 7f 8001 00"),
        ([measured(0, 128, 0, *NONE[:11])], "11 02 0a 8001 7f 8001 01 02"),
        ([measured(0, 127, *NONE)], "11 02 0a 7e 7d 8001 00"),
        ([measured(None, None, *NONE)], "51 02 0a 00"),
        ([measured(None, None, *NONE[:11], 0)], "51 02 0a 8010 02"),
        ([measured(3, 5, *NONE)], "11 02 0a 08 01 02 00"),
        ([measured(100, 228, *NONE)], "11 02 0a c802 7f 8001 00"),
        (
            [measured(3, 5, 0, -1, *NONE[:10]), measured(2, 6, None, 63, *NONE[:10], run_s=6)],
            "11 02 0a 08 01 02 03 02 01 01 02 00 01 02 03 01 8201",
        ),
        (
            [measured(3, 5, *range(1, 13))],
            "11 02 0a 08 01 02 ff1f 04 06 08 0a 0c 0e 10 12 14 16 18 1a",
        ),
    ],
)  # fmt: skip
def test_what_is_stored_is_that_of_the_documentation(many, as_hex):
    data, _ends = stored(many, 2)
    assert data.hex() == as_hex.replace(" ", "")
    for was, came in zip(many, decoded(data, len(many), 2), strict=True):
        assert came.canonical() == was.canonical()
        assert (came.kind, came.boot, came.run_s) == (was.kind, was.boot, was.run_s)
        assert (came.quality, came.utc_s) == (was.quality, was.utc_s)
        if was.kind == READING:
            assert came.values == was.values


@pytest.mark.parametrize(
    ("as_hex", "why"),
    [
        ("10 02 0a", "no kind of record: 16"),
        ("1a 02 0a", "no kind of record: 26"),
        ("91 02 0a 00", "no kind of record: 145"),
        ("81 02 0a 00", "no kind of record: 129"),
        ("88 02 0a 01000000", "no kind of record: 136"),
        ("80 02 0a", "no kind of record: 128"),
        ("", "cut off"),
        ("13", "cut off"),
        ("13 02", "cut off"),
        ("33 02", "cut off"),
        ("13 02 0a 0300", "cut off"),
        ("11 02 0a 08 01", "cut off"),
        ("11 02 0a 08 01 02", "cut off"),
        ("11 02 0a 08 01 80", "cut off"),
        ("11 8080808080 01", "number too long"),
    ],
)
def test_what_is_no_record_says_why(as_hex, why):
    data = bytes.fromhex(as_hex)
    with pytest.raises(HistoryError, match=f"^{why}$"):
        Coder(2).decode(data + b"\x00" * 9, 0, len(data), Record(2))


def test_numbers_of_35_bits_come_back():
    data = bytes.fromhex("51 feffffff1f 0a 00")
    record = decoded(data, 1, 2)[0]
    assert record.boot == 0xFFFFFFFF
    largest = event(hr.LOST, 1, run_s=0xFFFFFFFE, boot=0xFFFFFFFE, utc_s=0)
    assert decoded(stored([largest], 2)[0], 1, 2)[0].canonical() == largest.canonical()


def test_a_coder_begins_anew_as_if_nothing_had_been():
    coder, into = Coder(2), bytearray(200)
    first = reading()
    end = coder.encode(first, into, 0)
    coder.begin()
    again = coder.encode(first, into, end)
    assert into[:end] == into[end:again]
    record = Record(2)
    coder.begin()
    assert coder.decode(into, 0, end, record) == end
    coder.begin()
    assert coder.decode(into, end, again, record) == again
    assert record.values == first.values


@pytest.mark.parametrize("n_cells", [1, 3, 16, 72])
def test_the_largest_record_has_the_room_it_is_promised(n_cells):
    one, two = Record(n_cells), Record(n_cells)
    for record, low, high in ((one, -0x7FFFFFFF, 0), (two, 0x7FFFFFFF, 0xFFFE)):
        record.values = [high - high * (i % 2) for i in range(n_cells)]
        dc = 0x7FFF if high else -0x7FFF
        record.values += [high, low, low, *[dc] * 6, high, high and 0xFE, 0xFFFFFFFE * (high > 0)]
        record.boot = record.run_s = 0xFFFFFFFE * (high > 0)
        record.quality, record.utc_s = 1, 0xFFFFFFFE * (not high)
    _data, ends = stored([one, two], n_cells)
    assert ends[2] - ends[1] <= hr.stored_bytes(n_cells) < ends[2] - ends[1] + 12 + n_cells


def test_a_new_record_is_a_reading_of_nothing():
    record = Record(2)
    assert record.canonical().hex() == (
        "00000000 01 00000000 00000000 00 ffffffff 02 ffff ffff ffff 00000080 00000080"
        + " 0080" * 6 + " ffff ff ffffffff"
    ).replace(" ", "")  # fmt: skip


def test_the_numbers_are_those_of_the_documentation():
    names = (
        "READING",
        "FAULT",
        "COMMAND",
        "EVIDENCE",
        "TEST",
        "RESTART",
        "TIME",
        "LOST",
        "SETTING",
    )
    assert [getattr(hr, name) for name in names] == list(range(1, 10))
    places = ("SOC", "CHARGE", "CURRENT", "TEMPERATURES", "SOH", "SWITCHES", "FAULTS", "N_VALUES")
    assert [getattr(hr, name) for name in places] == [0, 1, 2, 3, 9, 10, 11, 12]
    assert (hr.CHAIN_BYTES, hr.PACKET_VERSION) == (32, 1)
    assert struct.calcsize(hr.PACKET_HEAD) == hr.PACKET_HEAD_BYTES == 15


@pytest.mark.parametrize(
    ("kind", "n_bytes"),
    [(hr.FAULT, 20), (hr.COMMAND, 3), (hr.EVIDENCE, 19), (hr.TEST, 9), (hr.RESTART, 18),
     (hr.TIME, 8), (hr.LOST, 4), (hr.SETTING, 2)],
)  # fmt: skip
def test_a_body_is_as_long_as_the_documentation_says(kind, n_bytes):
    assert struct.calcsize("<" + BODIES[kind]) == n_bytes


def test_the_room_for_a_record_grows_with_its_cells():
    assert (hr.stored_bytes(0), hr.stored_bytes(1), hr.stored_bytes(72)) == (66, 69, 282)


def test_a_new_record_has_no_body():
    record = Record(1)
    record.kind = hr.LOST
    assert record.canonical() == b"\0\0\0\0\x08" + bytes(9) + b"\xff" * 4


def test_a_pack_of_many_cells_has_its_number_in_a_byte():
    assert Record(200).canonical()[18] == 200
