"""Only bytes that fit the request to the last bit are its answer."""

import pytest
from gateway_fakes import rtu
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.modbus.frames import (
    BadAnswerError,
    DeviceError,
    RtuFraming,
    TcpFraming,
    read_request,
    read_write_request,
    write_request,
)

RTU = RtuFraming()
TCP = TcpFraming()
DATA = bytes(range(20))
REQUEST = read_request(3, 40000, 10)
ANSWER = rtu(3, bytes([3, 20]) + DATA)


def test_the_requests_are_those_of_the_specification():
    assert RTU.encode(read_request(17, 0x6B, 3), 0).hex() == "1103006b00037687"
    assert write_request(17, 1, [10, 258]).pdu.hex() == "100001000204000a0102"
    assert read_write_request(17, 3, 6, 14, [255]).pdu.hex() == "1700030006000e00010200ff"


def test_an_answer_is_taken_when_its_last_byte_is_here():
    for length in range(len(ANSWER)):
        assert RTU.judge(REQUEST, 0, ANSWER[:length]) is None
    assert RTU.judge(REQUEST, 0, ANSWER) == DATA


def test_one_byte_too_many_spoils_it():
    with pytest.raises(BadAnswerError, match="26 bytes instead of 25"):
        RTU.judge(REQUEST, 0, ANSWER + b"\x00")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (rtu(4, bytes([3, 20]) + DATA), "unit 4 answered instead of 3"),
        (rtu(3, bytes([4, 20]) + DATA), "function 4 instead of 3"),
        (rtu(3, bytes([3, 18]) + DATA[:18]), "byte count 18 instead of 20"),
        (rtu(3, bytes([23, 20]) + DATA), "function 23 instead of 3"),
        (ANSWER[:-1] + bytes([ANSWER[-1] ^ 1]), "the checksum does not fit"),
        (rtu(3, bytes([0x97, 2])), "function 151 instead of 3"),
    ],
)
def test_what_belongs_to_another_request_is_refused(other, reason):
    with pytest.raises(BadAnswerError, match=reason):
        RTU.judge(REQUEST, 0, other)


def test_an_exception_answer_belongs_to_its_function_only():
    with pytest.raises(DeviceError, match=r"unit 3 answered exception 6 \(device busy\)"):
        RTU.judge(REQUEST, 0, rtu(3, b"\x83\x06"))


def test_an_acknowledged_write_must_be_the_one_asked_for():
    request = write_request(3, 40000, [1, 2])
    assert RTU.judge(request, 0, rtu(3, bytes([16, 0x9C, 0x40, 0, 2]))) == b""
    with pytest.raises(BadAnswerError, match="not asked for"):
        RTU.judge(request, 0, rtu(3, bytes([16, 0x9C, 0x41, 0, 2])))


def verdict(framing, request, number, received):
    try:
        return framing.judge(request, number, received)
    except (BadAnswerError, DeviceError):
        return None


@settings(max_examples=300)
@given(st.data())
def test_no_damage_of_up_to_three_bits_passes(data):
    damaged = bytearray(ANSWER)
    bits = data.draw(st.sets(st.integers(0, 8 * len(ANSWER) - 1), min_size=1, max_size=3))
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    assert verdict(RTU, REQUEST, 0, bytes(damaged)) is None


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_noise_never_passes_on_either_framing(noise):
    if noise != ANSWER:
        assert verdict(RTU, REQUEST, 0, noise) is None
    assert verdict(TCP, REQUEST, 0xFFFF, noise) is None


def tcp(number, unit, pdu):
    return (
        number.to_bytes(2, "big")
        + b"\0\0"
        + (len(pdu) + 1).to_bytes(2, "big")
        + bytes([unit])
        + pdu
    )


def test_tcp_skips_answers_to_older_requests():
    old = tcp(6, 3, bytes([3, 20]) + bytes(20))
    mine = tcp(7, 3, bytes([3, 20]) + DATA)
    assert TCP.judge(REQUEST, 7, old) is None
    assert TCP.judge(REQUEST, 7, old + mine[:9]) is None
    assert TCP.judge(REQUEST, 7, old + mine) == DATA


@pytest.mark.parametrize(
    "other",
    [
        tcp(7, 4, bytes([3, 20]) + DATA),
        tcp(7, 3, bytes([3, 18]) + DATA[:18]),
        tcp(7, 3, bytes([3, 20]) + DATA) + b"\x00",
        b"\x00\x07\x00\x01\x00\x17\x03" + bytes([3, 20]) + DATA,
    ],
)
def test_tcp_refuses_what_does_not_fit(other):
    with pytest.raises(BadAnswerError):
        TCP.judge(REQUEST, 7, other)
