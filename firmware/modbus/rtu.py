"""Modbus RTU on the board's UART: frames cut by silence, answered in the next poll.

A frame ends when nothing has come for t3.5: 3.5 characters of 11 bits, or 1.75 ms above 19200
baud. The only clock that is the same on every board counts whole milliseconds, and two of its
readings N apart are more than N - 1 ms apart; so N = t3.5 rounded up, plus 1, is never too short.

A board that was busy may find several frames of its bus in one piece, with the silences lost.
What is whole by its checksum is one frame. Else the last request in the piece that is for this
board, fits its own length and has a right checksum is answered: whoever sent it is waiting.
An earlier one is never answered, for its sender has given it up.

An answer cannot be interrupted. One that would last longer than the loop has time for
(``free_ms``) waits for a later poll, and is dropped when its sender speaks again before. A request
for a file waits likewise until there are ``file_ms``, for it reads flash.

    rtu = RtuServer(board, pdu_server, settings.address, settings.baudrate)
    while True:
        rtu.poll()
        board.wait(rtu.due_ms() if rtu.pending() else ...)  # returns when bytes come, too

Source: Modbus over Serial Line Specification and Implementation Guide V1.02.
"""

from common.crc import crc16_modbus, crc16_modbus_of
from common.mp import const
from firmware.board import Board
from firmware.modbus.pdu import (
    DIAGNOSTICS,
    ENCAPSULATED,
    READ_FILE,
    READ_HOLDING,
    READ_INPUT,
    READ_WRITE,
    WRITE_MULTIPLE,
    WRITE_SINGLE,
    PduServer,
)

BROADCAST = const(0)

_MAX_FRAME = const(256)
_BUFFER = const(1024)  # several frames of a bus that did not wait for us
_CHUNK = const(128)
_MAX_CHUNKS = const(16)  # in one poll: a flood must not hold the loop


def silence_ms(baudrate: int) -> int:
    """Milliseconds between two readings of the clock that hold t3.5 for sure."""
    t35_us = 1750 if baudrate > 19200 else (38500000 + baudrate - 1) // baudrate
    return (t35_us + 999) // 1000 + 1


def longest_ms(n: int, baudrate: int) -> int:
    """Milliseconds that ``n`` characters of 11 bits take, rounded up."""
    return (n * 11000 + baudrate - 1) // baudrate


class RtuServer:
    """Serves one unit address on ``board.uart``; broadcasts are carried out, not answered."""

    def __init__(self, board: Board, pdu_server: PduServer, address: int, baudrate: int) -> None:
        if board.uart is None:
            raise ValueError("board %s has no UART: Modbus RTU needs one" % board.name)
        self._board = board
        self._uart = board.uart
        self._pdu = pdu_server
        self.address = address
        self._baudrate = baudrate
        self._silence_ms = silence_ms(baudrate)
        self.free_ms: "object | None" = None  # asked for the time until the loop is wanted
        self.file_ms = 0  # that reading a file may take
        self._waits = False  # for so much time
        self._chunk = bytearray(_CHUNK)
        self._buffer = bytearray(_BUFFER)
        self._length = 0
        self._too_long = False
        self._last_ms = 0  # when bytes were last found
        self._request = memoryview(self._buffer)[1:]
        self._ready = 0  # bytes of the answer that waits for its time
        self._answer = bytearray(_MAX_FRAME)
        self._answer_pdu = memoryview(self._answer)[1:]
        # A slice of a memoryview is an object: one for each length, made when first needed.
        self._answers: dict[int, memoryview] = {}

    def pending(self) -> bool:
        """Whether a frame has begun: ``poll`` then wants to be called at ``due_ms``."""
        return self._length > 0 and not self._waits

    def due_ms(self) -> int:
        """The tick (``board.ticks_ms``) at which the frame under way has ended."""
        return self._board.ticks_add(self._last_ms, self._silence_ms)

    def poll(self) -> bool:
        """Take what has come; when a frame has ended, answer it. Whether one was answered."""
        board = self._board
        # Its sender speaks again: it has given up what waits.
        if self._waits and self._uart.any():  # type: ignore[attr-defined]
            self._waits = False
            self._length = 0
        if self._take():
            if self._ready:
                self._ready = 0
                self._pdu.no_responses += 1
            self._last_ms = board.ticks_ms()
            return False
        if self._ready:
            return self._send()
        if self._length == 0:
            return False
        if board.ticks_diff(board.ticks_ms(), self._last_ms) < self._silence_ms:
            return False
        free_ms = self.free_ms
        self._waits = (
            free_ms is not None and self._buffer[1] == READ_FILE and free_ms() < self.file_ms  # type: ignore[operator]
        )
        if self._waits:
            return False
        try:
            return self._serve()
        finally:  # what cannot be served must not come again
            self._length = 0
            self._too_long = False

    def _take(self) -> bool:
        """Move waiting bytes into the buffer; whether there were any."""
        uart = self._uart
        chunk = self._chunk
        buffer = self._buffer
        length = self._length
        took = False
        for _ in range(_MAX_CHUNKS):
            n = uart.readinto(chunk) if uart.any() else 0  # type: ignore[attr-defined]
            if not n:
                break
            took = True
            for i in range(n):
                if length == _BUFFER:
                    self._too_long = True
                    break
                buffer[length] = chunk[i]
                length += 1
        self._length = length
        return took

    # --- one piece between two silences ---------------------------------------------------

    def _serve(self) -> bool:
        pdu = self._pdu
        if self._too_long:
            pdu.overruns += 1
            pdu.bus_errors += 1
            return False
        start = self._find()
        if start < 0:
            pdu.bus_errors += 1
            return False
        pdu.bus_messages += 1
        buffer = self._buffer
        address = buffer[start]
        if address != BROADCAST and address != self.address:  # noqa: PLR1714  a tuple allocates
            return False
        length = self._length - start
        if start:
            for i in range(length):
                buffer[i] = buffer[start + i]
        pdu.server_messages += 1
        if address == BROADCAST:
            pdu.no_responses += 1
            if buffer[1] in (WRITE_SINGLE, WRITE_MULTIPLE):
                pdu.handle(self._request, length - 3, self._answer_pdu)
            return False
        n = 1 + pdu.handle(self._request, length - 3, self._answer_pdu)
        answer = self._answer
        answer[0] = self.address
        crc = crc16_modbus_of(self._part(n))
        answer[n] = crc & 0xFF
        answer[n + 1] = crc >> 8
        self._ready = n + 2
        return self._send()

    def _find(self) -> int:
        """Where the frame to be served begins in the buffer; -1 when there is none."""
        end = self._length
        if end < 4:
            return -1
        if end <= _MAX_FRAME and self._whole(0, end):
            return 0
        for start in range(max(1, end - _MAX_FRAME), end - 6):
            if self._buffer[start] != self.address:
                continue
            if self._request_bytes(start) == end - start and self._whole(start, end):
                return start
        return -1

    def _whole(self, start: int, end: int) -> bool:
        crc = crc16_modbus(self._buffer, start, end - 2)
        return self._buffer[end - 2] == crc & 0xFF and self._buffer[end - 1] == crc >> 8

    def _request_bytes(self, start: int) -> int:
        """The length that a request at ``start`` must have by what it says; 0: unknown."""
        function = self._buffer[start + 1]
        if function in (READ_HOLDING, READ_INPUT, WRITE_SINGLE, DIAGNOSTICS):
            return 8
        if function == ENCAPSULATED:
            return 7
        if function == WRITE_MULTIPLE:
            return 9 + self._buffer[start + 6]
        if function == READ_WRITE and start + 10 < self._length:
            return 13 + self._buffer[start + 10]
        return 0

    def _part(self, n: int) -> memoryview:
        """The answer's first ``n`` bytes."""
        view = self._answers.get(n)
        if view is None:
            view = memoryview(self._answer)[:n]
            self._answers[n] = view
        return view

    def _send(self) -> bool:
        """Send the answer that is ready, if there is time for it."""
        n = self._ready
        free_ms = self.free_ms
        if free_ms is not None and free_ms() < longest_ms(n, self._baudrate):  # type: ignore[operator]
            return False
        self._ready = 0
        self._uart.write(self._part(n))  # type: ignore[attr-defined]
        # The write ends with the last character on the line: what has come meanwhile is its own
        # echo (a half-duplex line heard by its sender) and no request. An echo of a write's
        # answer would else be taken for the same write again.
        for _ in range(_MAX_CHUNKS):
            if not self._uart.any():  # type: ignore[attr-defined]
                break
            self._uart.readinto(self._chunk)  # type: ignore[attr-defined]
        return True
