"""Requests as bytes, and the judgement whether bytes are the answer: no input or output here.

The trap of Modbus RTU: an answer does not say which request it belongs to. A late one to
"registers 40243, 65 words" fits the next request as well as its own. So an answer is taken only
when unit, function, byte count, length and checksum all fit the request, to the byte; anything
else spoils the exchange and the line is drained before the next one (``master``). Two different
requests to one unit must never expect the same number of registers (``planner``), and what was
read still has to prove itself by the header and sequence inside the block (``pack``).

Modbus TCP numbers its transactions: an answer with an older number is skipped.

Source: Modbus Application Protocol V1.1b3; Modbus over Serial Line V1.02.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.file_message import FileRecord, WriteFileRecordRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
)

READ = 3
WRITE = 16
READ_FILE = 20
WRITE_FILE = 21
READ_WRITE = 23
FILE_RECORDS = 10000  # in a file
FILE_REFERENCE = 6  # the only type of reference there is
EXCEPTION_BIT = 0x80
MAX_UNIT = 247
MAX_READ_WORDS = 125

_RTU = FramerRTU(DecodePDU(is_server=False))
_SOCKET = FramerSocket(DecodePDU(is_server=False))

EXCEPTION_NAMES = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target failed to respond",
}


class BadAnswerError(Exception):
    """What came is not the answer to what was asked; the message says why."""


class DeviceError(Exception):
    """The unit answered the request with a Modbus exception."""

    def __init__(self, unit: int, code: int) -> None:
        name = EXCEPTION_NAMES.get(code, "unknown exception")
        super().__init__(f"unit {unit} answered exception {code} ({name})")
        self.code = code


@dataclass(frozen=True)
class Request:
    """One request to one unit, and what its answer must look like."""

    unit: int
    function: int
    pdu: bytes  # from the function code on
    answer_words: int  # registers in the answer; 0 for a write
    echo: bytes = b""  # what the answer to a write repeats
    part: bytes = b""  # what stands between the byte count and the registers of a file's record

    @property
    def answer_bytes(self) -> int:
        """Length of the answer's PDU."""
        return 1 + len(self.echo) if self.echo else 2 + self.count

    @property
    def count(self) -> int:
        """The byte count that the answer announces."""
        return len(self.part) + 2 * self.answer_words


def read_request(unit: int, address: int, count: int) -> Request:
    """Read ``count`` holding registers (1..125) from ``address``; else ``ValueError``."""
    pdu = ReadHoldingRegistersRequest(dev_id=unit, address=address, count=count)
    return Request(unit, READ, bytes([READ]) + pdu.encode(), count)


def write_request(unit: int, address: int, words: list[int]) -> Request:
    """Write consecutive holding registers."""
    pdu = WriteMultipleRegistersRequest(dev_id=unit, address=address, registers=words)
    body = pdu.encode()
    return Request(unit, WRITE, bytes([WRITE]) + body, 0, echo=body[:4])


def read_write_request(
    unit: int, address: int, count: int, write_address: int, words: list[int]
) -> Request:
    """Write registers, then read others, in one transaction (function 23)."""
    pdu = ReadWriteMultipleRegistersRequest(address, count, write_address, words, dev_id=unit)
    return Request(unit, READ_WRITE, bytes([READ_WRITE]) + pdu.encode(), count)


def write_file_request(unit: int, offset: int, data: bytes) -> Request:
    """Write ``data`` (an even number of bytes, at most 240) of a file from byte ``offset`` on.

    A file of more than 10,000 registers goes on in the next one; a request ends with it.
    """
    file, record = divmod(offset // 2, FILE_RECORDS)
    record_request = FileRecord(file_number=file + 1, record_number=record, record_data=data)
    body = WriteFileRecordRequest(dev_id=unit, records=[record_request]).encode()
    return Request(unit, WRITE_FILE, bytes([WRITE_FILE]) + body, 0, echo=body)


def file_request(unit: int, file: int, record: int, words: int) -> Request:
    """Read ``words`` registers (1..124) from a record of a file."""
    # pymodbus counts a record's length in bytes in one place and registers in the other
    pdu = struct.pack(">BBBHHH", READ_FILE, 7, FILE_REFERENCE, file, record, words)
    return Request(unit, READ_FILE, pdu, words, part=bytes([1 + 2 * words, FILE_REFERENCE]))


class Framing(Protocol):
    """How a request goes on the wire and how its answer is known."""

    numbered: bool  # answers carry the number of their request

    def encode(self, request: Request, number: int) -> bytes:
        """The bytes to send."""

    def judge(self, request: Request, number: int, received: bytes) -> bytes | None:
        """The answer's data, or ``None`` while it is still incomplete.

        ``DeviceError`` for a proper exception answer, ``BadAnswerError`` for anything else.
        """


def _answer_data(request: Request, pdu: bytes) -> bytes:
    """Data of a whole answer PDU of this request."""
    if pdu[0] == request.function | EXCEPTION_BIT and len(pdu) == 2:
        raise DeviceError(request.unit, pdu[1])
    if pdu[0] != request.function:
        raise BadAnswerError(f"function {pdu[0]} instead of {request.function}")
    if len(pdu) != request.answer_bytes:
        raise BadAnswerError(f"{len(pdu)} bytes instead of {request.answer_bytes}")
    if request.echo:
        if pdu[1:] != request.echo:
            raise BadAnswerError("a write was acknowledged that was not asked for")
        return b""
    if pdu[1] != request.count:
        raise BadAnswerError(f"byte count {pdu[1]} instead of {request.count}")
    if not pdu.startswith(request.part, 2):
        raise BadAnswerError("the part of a file is not what was asked for")
    return pdu[2 + len(request.part) :]


class RtuFraming:
    """Unit, PDU, CRC-16; the end is known from the request alone."""

    numbered = False

    def encode(self, request: Request, number: int) -> bytes:  # noqa: ARG002 - no numbers in RTU
        """The bytes to send."""
        return _RTU.encode(request.pdu, request.unit, 0)

    def judge(self, request: Request, number: int, received: bytes) -> bytes | None:  # noqa: ARG002
        """See ``Framing``."""
        if not received:
            return None
        if received[0] != request.unit:
            raise BadAnswerError(f"unit {received[0]} answered instead of {request.unit}")
        if len(received) < 2:
            return None
        if received[1] == request.function | EXCEPTION_BIT:
            expected = 5
        elif received[1] == request.function:
            expected = request.answer_bytes + 3
        else:
            raise BadAnswerError(f"function {received[1]} instead of {request.function}")
        if len(received) > expected:
            raise BadAnswerError(f"{len(received)} bytes instead of {expected}")
        if expected > 5 and not request.echo and len(received) > 2:
            announced, wanted = received[2], request.count
            if announced != wanted:
                raise BadAnswerError(f"byte count {announced} instead of {wanted}")
        if len(received) < expected:
            return None
        if not FramerRTU.check_CRC(received[:-2], int.from_bytes(received[-2:], "big")):
            raise BadAnswerError("the checksum does not fit")
        return _answer_data(request, received[1:-2])


class TcpFraming:
    """MBAP header with a transaction number; answers to older requests are skipped."""

    numbered = True
    HEADER_BYTES = 7

    def encode(self, request: Request, number: int) -> bytes:
        """The bytes to send."""
        return _SOCKET.encode(request.pdu, request.unit, number)

    def judge(self, request: Request, number: int, received: bytes) -> bytes | None:
        """See ``Framing``."""
        at = 0
        while len(received) - at >= self.HEADER_BYTES:
            head = received[at : at + self.HEADER_BYTES]
            length = int.from_bytes(head[4:6], "big")
            if head[2:4] != b"\x00\x00" or not 3 <= length <= 254:
                raise BadAnswerError("the stream is out of step")
            end = at + 6 + length
            if len(received) < end:
                return None
            if int.from_bytes(head[:2], "big") != number:
                at = end
                continue
            if head[6] != request.unit:
                raise BadAnswerError(f"unit {head[6]} answered instead of {request.unit}")
            if len(received) > end:
                raise BadAnswerError("more bytes than one answer")
            return _answer_data(request, received[at + self.HEADER_BYTES : end])
        return None
