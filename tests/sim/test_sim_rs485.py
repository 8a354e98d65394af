"""The RS-485 line: how long characters take, who hears them, what collisions do."""

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.rs485 import HOST, HostPort, Line, Train


def test_a_frame_takes_its_characters_times_ten_bits():
    line = Line(9600)
    assert line.duration_us(8) == 8334  # 80 bits at 9600 per second, rounded up
    assert line.send(HOST, bytes(8), 1000) == 9334
    assert line.next_us() == 9334


def test_nothing_is_heard_before_its_last_character():
    line = Line(115200)
    end_us = line.send(0, b"abc", 0)
    assert line.heard(end_us - 1) == []
    assert [t.data for t in line.heard(end_us)] == [b"abc"]
    assert line.next_us() is None


def test_two_at_once_garble_each_other():
    line = Line(115200)
    line.send(0, b"hello", 0)
    line.send(1, b"world", 100)
    heard = line.heard(10_000)
    assert [t.source for t in heard] == [0, 1]
    assert heard[0].data != b"hello"
    assert heard[1].data != b"world"
    assert line.collisions == 1


def test_one_after_the_other_is_heard_clean():
    line = Line(115200)
    end_us = line.send(0, b"hello", 0)
    line.send(1, b"world", end_us)
    assert [t.data for t in line.heard(10_000)] == [b"hello", b"world"]
    assert line.collisions == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5000), st.binary(min_size=1, max_size=20)),
        max_size=12,
    )
)
@settings(max_examples=100, deadline=None)
def test_trains_that_overlap_none_are_heard_as_sent_and_all_others_are_not(sent):
    line = Line(115200)
    spans = [
        (start_us, line.send(source, data, start_us), source, data)
        for source, start_us, data in sent
    ]
    heard = line.heard(1_000_000)
    assert len(heard) == len(sent)
    for i, (start_us, end_us, source, data) in enumerate(spans):
        alone = all(
            i == j or end_us <= other[0] or other[1] <= start_us for j, other in enumerate(spans)
        )
        same = [
            t.data for t in heard if (t.start_us, t.end_us, t.source) == (start_us, end_us, source)
        ]
        if alone:
            assert same == [data]
        else:
            assert all(len(found) in map(len, [d for _, _, _, d in spans]) for found in same)
            assert data not in same or any(data == o[3] for j, o in enumerate(spans) if j != i)


def test_a_tamperer_can_drop_double_change_and_delay():
    def tamper(train: Train) -> list[Train]:
        if train.data == b"drop":
            return []
        if train.data == b"double":
            return [train, train]
        if train.data == b"late":
            return [Train(train.end_us + 50_000, train.start_us, train.source, train.data)]
        return [Train(train.end_us, train.start_us, train.source, train.data[::-1])]

    line = Line(115200)
    line.tamper = tamper
    at_us = 0
    for data in (b"drop", b"double", b"late", b"turn"):
        at_us = line.send(0, data, at_us)
    assert [t.data for t in line.heard(at_us)] == [b"double", b"double", b"nrut"]
    assert [t.data for t in line.heard(at_us + 50_000)] == [b"late"]
    assert line.next_us() is None


@pytest.fixture
def host_port():
    port = HostPort(115200)
    yield port
    port.close()


def test_a_serial_program_finds_a_port(host_port):
    with serial.Serial(host_port.path, 57600, timeout=1) as host:
        host.write(b"question")
        assert host_port.read() == b"question"
        assert host_port.baudrate() == 57600
        host_port.write(b"answer")
        assert host.read(6) == b"answer"


def test_a_host_that_never_reads_loses_bytes_and_stops_nobody(host_port):
    for _ in range(40):
        host_port.write(bytes(1000))
    assert host_port.overruns > 0
