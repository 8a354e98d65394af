"""What a Modbus request asks and what it gets: function codes over the register image.

Knows nothing of frames: it takes the PDU (from the function code on) and fills the answer's.
Holding registers (3) and input registers (4) are the same image, which begins at
``models.BASE_ADDRESS``. Served: 3, 4, 6, 16, 23, 8 (diagnostics), 43/14 (identification), 20
(file records) from ``files``, where there are any, and 21 (a new image of the firmware).

A write changes all it names or nothing: every register must belong to a writable point, a point
of two registers must be written whole, and every value is checked before the first is taken.

| writable point | what a write does |
|---|---|
| ``Cmd`` | ``commands.command(code)``; what became of it stands in ``CmdRes`` |
| ``SetUtc`` | ``commands.set_utc(seconds)``; exception 3 for a time before 2020 |
| ``RecSel`` | ``commands.recall(seq)``: before the same request (23) reads |
| ``Sel`` | ``limits.tell_bounds(place)``: likewise |
| ``Resp1`` and all settings | ``limits.receive(data, at)``; exception 6 while busy, 2 for a part |
| the same of CALIBRATION, IDENTITY | ``provisions[model].receive(data, at)``, likewise |
| ``FltSel`` | ``commands.tell_fault(number)``: likewise |
| 802 ``AlmRst`` | 1: clear latched faults, exception 4 where that is refused; 0: nothing |
| 802 ``SetOp`` | 1 connect, 2 disconnect; exception 4 where that is refused |
| any other | exception 3, unless it is what stands there already |

Source: Modbus Application Protocol Specification V1.1b3.
"""

from common import models
from common.codes import Command, CommandResult
from common.mp import const
from common.registers import Block, RegisterMap

TYPE_CHECKING = False  # boards have no typing
if TYPE_CHECKING:
    from firmware.history_file import HistoryFile
    from firmware.provision import Provision
    from firmware.remote_settings import RemoteSettings
    from firmware.update import Update

READ_HOLDING = const(3)
READ_INPUT = const(4)
WRITE_SINGLE = const(6)
DIAGNOSTICS = const(8)
WRITE_MULTIPLE = const(16)
READ_FILE = const(20)
WRITE_FILE = const(21)
READ_WRITE = const(23)
ENCAPSULATED = const(43)

ILLEGAL_FUNCTION = const(1)
ILLEGAL_ADDRESS = const(2)
ILLEGAL_VALUE = const(3)
DEVICE_FAILURE = const(4)
_DEVICE_BUSY = const(6)

MAX_PDU = const(253)
_MAX_READ = const(125)  # registers in one answer
_MAX_WRITE = const(123)
_MAX_READ_WRITE = const(121)  # registers written by function 23
_MAX_PARTS = const(32)  # of the image that are asked for; a gateway's plan has about half of it
_FILE_REFERENCE = const(6)  # the only type of reference there is
_FILE_REQUEST = const(7)  # bytes of each part of a request

_IDENTIFICATION = const(14)  # MEI type of function 43
_FILE_RECORDS = const(10000)  # of one register each, in a file; files count from 1
_CONFORMITY = const(0x83)  # extended identification, as a stream and object by object
_LAST_OBJECT = const(b"\x02\x7f\xff")  # of basic, regular and extended identification

_UTC_2020 = const(1577836800)

_FIXED = const(0)  # what a writable point does
_COMMAND = const(1)
_SET_UTC = const(2)
_RECALL = const(3)
_RESET_ALARMS = const(4)
_OPERATION = const(5)
_TELL_FAULT = const(6)
_TELL_BOUNDS = const(7)

_ACTIONS = {
    (models.CONTROL, "Cmd"): _COMMAND,
    (models.CONTROL, "SetUtc"): _SET_UTC,
    (models.CONTROL, "RecSel"): _RECALL,
    (models.SETTINGS, "Sel"): _TELL_BOUNDS,
    (models.CONTROL, "FltSel"): _TELL_FAULT,
    (models.BATTERY, "AlmRst"): _RESET_ALARMS,
    (models.BATTERY, "SetOp"): _OPERATION,
}


class Commands:
    """What the Modbus server may ask of the board."""

    def command(self, code: int) -> int:
        """Carry out one of ``codes.Command``; one of ``codes.CommandResult``."""
        raise NotImplementedError

    def set_utc(self, utc_s: int) -> None:
        """Take the time: seconds since 1970-01-01 UTC."""
        raise NotImplementedError

    def recall(self, seq: int) -> bool:
        """Put the kept reading ``seq`` into the RECALL model; ``False`` when it is not kept."""
        raise NotImplementedError

    def tell_fault(self, number: int) -> None:
        """Put what is remembered of a fault into the FAULTS model."""
        raise NotImplementedError


class _Slices:
    """``_Slices()[2:9]`` is that slice: MicroPython makes no other way."""

    def __getitem__(self, part: slice) -> slice:
        return part


class PduServer:
    """Answers requests from one ``RegisterMap``; allocates nothing while doing so.

    Setting the clock is the exception: seconds since 1970 need more than 31 bits. And a part of
    the image is an object, of which the first ``_MAX_PARTS`` that are asked for are kept: sixty
    times as fast as byte by byte, which is how any further one is read.

    The diagnostic counters belong to it, for function 8 tells and clears them; the framing
    counts into them too.
    """

    def __init__(self, register_map: RegisterMap, commands: Commands) -> None:
        self._image = register_map.image
        self._words = register_map.words
        # By first register << 7 | registers: the place in the answer, and the part of the image.
        self._parts: dict[int, tuple[slice, memoryview]] = {}
        self._commands = commands
        self._points: list[tuple[int, int, int, Block, str]] = []
        self._access = bytearray(register_map.words)  # 0, or 1 + index into _points
        # Who takes settings (``firmware.remote_settings``): all of them in one write, or none.
        self.limits: "RemoteSettings | None" = None
        self.update: "Update | None" = None  # who takes an image (``firmware.update``)
        # ``read(file, record, words, into, at)``: registers, or minus the exception.
        self.files: "HistoryFile | None" = None
        # Who takes them for CALIBRATION and IDENTITY (``firmware.provision``).
        self.provisions: "dict[int, Provision]" = {}
        self._sealed = [
            _sealed(register_map.block(number))
            for number in (models.SETTINGS, models.CALIBRATION, models.IDENTITY)
        ]
        for block in register_map.blocks:
            self._find_writable(block)
        self._objects = _identity(register_map)
        self.clear_counters()

    def clear_counters(self) -> None:
        """Begin to count anew."""
        self.bus_messages = 0  # frames seen with a right checksum, for whomever
        self.bus_errors = 0  # frames with a wrong checksum or length
        self.exceptions = 0
        self.server_messages = 0  # requests for this board, broadcasts among them
        self.no_responses = 0  # requests that were not answered
        self.overruns = 0  # frames longer than any may be

    def _find_writable(self, block: Block) -> None:
        for name in block.layout.index:
            offset, words, rw = block.layout.place(name)
            if not rw:
                continue
            first = block.start // 2 + offset
            if any(0 <= first - at < n for at, n, _number in self._sealed):
                continue
            action = _ACTIONS.get((block.layout.id, name), _FIXED)
            self._points.append((first, words, action, block, name))
            for i in range(first, first + words):
                self._access[i] = len(self._points)

    def handle(
        self, request: "bytearray | memoryview", length: int, response: "bytearray | memoryview"
    ) -> int:
        """Answer ``request[:length]`` (at least 1 byte); the length of ``response`` (253 fit).

        ``request`` and ``response`` may not be the same buffer.
        """
        function = request[0]
        if function in (READ_HOLDING, READ_INPUT):
            n = self._read_registers(request, length, response)
        elif function == WRITE_SINGLE:
            n = self._write_single(request, length, response)
        elif function == WRITE_MULTIPLE:
            n = self._write_multiple(request, length, response)
        elif function == READ_WRITE:
            n = self._read_write(request, length, response)
        elif function == DIAGNOSTICS:
            n = self._diagnose(request, length, response)
        elif function == WRITE_FILE:
            n = self._write_file(request, length, response)
        elif function == READ_FILE:
            n = self._read_files(request, length, response)
        elif function == ENCAPSULATED:
            n = self._identify(request, length, response)
        else:
            n = -ILLEGAL_FUNCTION
        if n > 0:
            response[0] = function
            return n
        self.exceptions += 1
        response[0] = function | 0x80
        response[1] = -n
        return 2

    # --- reading; every part returns the answer's length, or minus the exception ------------

    def _read_registers(
        self, request: "bytearray | memoryview", length: int, response: "bytearray | memoryview"
    ) -> int:
        if length != 5:
            return -ILLEGAL_VALUE
        first = (request[1] << 8 | request[2]) - models.BASE_ADDRESS
        count = request[3] << 8 | request[4]
        n = self._check_read(first, count)
        return n or self._copy(first, count, response)

    def _check_read(self, first: int, count: int) -> int:
        if not 1 <= count <= _MAX_READ:
            return -ILLEGAL_VALUE
        if first < 0 or first + count > self._words:
            return -ILLEGAL_ADDRESS
        return 0

    def _copy(self, first: int, count: int, response: "bytearray | memoryview") -> int:
        at = 2 * first
        end = 2 + 2 * count
        response[1] = 2 * count
        key = first << 7 | count
        part = self._parts.get(key)
        if part is None and len(self._parts) < _MAX_PARTS:
            part = (_Slices()[2:end], memoryview(self._image)[at : at + 2 * count])
            self._parts[key] = part
        if part is not None:
            response[part[0]] = part[1]
            return end
        image = self._image
        for i in range(2, end):
            response[i] = image[at]
            at += 1
        return end

    # --- writing --------------------------------------------------------------------------

    def _write_single(
        self, request: "bytearray | memoryview", length: int, response: "bytearray | memoryview"
    ) -> int:
        if length != 5:
            return -ILLEGAL_VALUE
        n = self._write(request[1] << 8 | request[2], 1, request, 3)
        return n or _echo(request, 5, response)

    def _write_multiple(
        self, request: "bytearray | memoryview", length: int, response: "bytearray | memoryview"
    ) -> int:
        if length < 6:
            return -ILLEGAL_VALUE
        count = request[3] << 8 | request[4]
        if not 1 <= count <= _MAX_WRITE or request[5] != 2 * count or length != 6 + 2 * count:
            return -ILLEGAL_VALUE
        n = self._write(request[1] << 8 | request[2], count, request, 6)
        return n or _echo(request, 5, response)

    def _read_write(
        self, request: "bytearray | memoryview", length: int, response: "bytearray | memoryview"
    ) -> int:
        if length < 10:
            return -ILLEGAL_VALUE
        first = (request[1] << 8 | request[2]) - models.BASE_ADDRESS
        count = request[3] << 8 | request[4]
        n_write = request[7] << 8 | request[8]
        if not 1 <= n_write <= _MAX_READ_WRITE or request[9] != 2 * n_write:
            return -ILLEGAL_VALUE
        if length != 10 + 2 * n_write:
            return -ILLEGAL_VALUE
        n = self._check_read(first, count)
        if n == 0:  # the write comes first: what is read shows its effect
            n = self._write(request[5] << 8 | request[6], n_write, request, 10)
        return n or self._copy(first, count, response)

    def _write(self, address: int, count: int, data: "bytearray | memoryview", at: int) -> int:
        """Write ``count`` registers found at ``data[at:]``; 0, or minus the exception."""
        first = address - models.BASE_ADDRESS
        if first < 0 or first + count > self._words:
            return -ILLEGAL_ADDRESS
        for sealed in self._sealed:
            if first == sealed[0] and count == sealed[1]:
                number = sealed[2]
                taker = self.limits if number == models.SETTINGS else self.provisions.get(number)
                if taker is not None:
                    return 0 if taker.receive(data, at) else -_DEVICE_BUSY
        i = 0
        while i < count:
            index = self._access[first + i]
            if index == 0:
                return -ILLEGAL_ADDRESS
            point = self._points[index - 1]
            if point[0] != first + i or i + point[1] > count:
                return -ILLEGAL_ADDRESS
            if not self._acceptable(point, _value(data, at + 2 * i, point[1])):
                return -ILLEGAL_VALUE
            i += point[1]
        i = 0
        while i < count:
            point = self._points[self._access[first + i] - 1]
            if not self._act(point, _value(data, at + 2 * i, point[1])):
                return -DEVICE_FAILURE
            i += point[1]
        return 0

    def _acceptable(self, point: "tuple[int, int, int, Block, str]", value: int) -> bool:
        first, words, action, _block, _name = point
        if action == _RESET_ALARMS:
            return value <= 1
        if action == _OPERATION:
            return value in (1, 2)
        if action == _SET_UTC:  # a gateway whose own clock was never set tells 1970
            return _UTC_2020 <= value < 0xFFFFFFFF
        if action == _FIXED:
            return value == _value(self._image, 2 * first, words)
        return True

    def _act(self, point: "tuple[int, int, int, Block, str]", value: int) -> bool:
        """Do what writing ``value`` means; ``False`` when it was refused."""
        _first, _words, action, block, name = point
        commands = self._commands
        if action == _COMMAND:
            block.set("CmdRes", commands.command(value))
        elif action == _SET_UTC:
            commands.set_utc(value)
        elif action == _RECALL:
            commands.recall(value)
        elif action == _TELL_BOUNDS:
            if self.limits is None:
                return False
            self.limits.tell_bounds(value)
        elif action == _TELL_FAULT:
            commands.tell_fault(value)
        elif action == _RESET_ALARMS:
            # AlmRst falls back to 0 by itself: it stands at 0 for the next reset.
            return value == 0 or commands.command(Command.CLEAR_LATCHED) == CommandResult.DONE
        elif action == _OPERATION:
            code = Command.CONNECT if value == 1 else Command.DISCONNECT
            if commands.command(code) != CommandResult.DONE:
                return False
        else:
            return True
        block.set(name, value)
        return True

    # --- files ----------------------------------------------------------------------------

    def _write_file(
        self, request: "bytearray | memoryview", length: int, response: "bytearray | memoryview"
    ) -> int:
        if length < 2 or length != 2 + request[1]:
            return -ILLEGAL_VALUE
        at = 2
        while at < length:  # all groups are looked at before the first is taken
            if length - at < 7:
                return -ILLEGAL_VALUE
            n_words = request[at + 5] << 8 | request[at + 6]
            if request[at] != _FILE_REFERENCE or not n_words or at + 7 + 2 * n_words > length:
                return -ILLEGAL_VALUE
            if not (request[at + 1] or request[at + 2]):
                return -ILLEGAL_ADDRESS
            if (request[at + 3] << 8 | request[at + 4]) >= _FILE_RECORDS:
                return -ILLEGAL_ADDRESS
            at += 7 + 2 * n_words
        update = self.update
        if update is None or length == 2:
            return -ILLEGAL_FUNCTION if update is None else -ILLEGAL_VALUE
        at = 2
        while at < length:
            file = request[at + 1] << 8 | request[at + 2]
            word = (file - 1) * _FILE_RECORDS + (request[at + 3] << 8 | request[at + 4])
            n_bytes = 2 * (request[at + 5] << 8 | request[at + 6])
            n: int = update.receive(2 * word, request, at + 7, n_bytes)
            if n:
                return n
            at += 7 + n_bytes
        return _echo(request, length, response)

    def _read_files(
        self, request: "bytearray | memoryview", length: int, response: "bytearray | memoryview"
    ) -> int:
        files = self.files
        if files is None:
            return -ILLEGAL_FUNCTION
        if length <= 2 or length != 2 + request[1] or request[1] % _FILE_REQUEST:
            return -ILLEGAL_VALUE
        n = 2
        for at in range(2, length, _FILE_REQUEST):
            file = request[at + 1] << 8 | request[at + 2]
            record = request[at + 3] << 8 | request[at + 4]
            words = request[at + 5] << 8 | request[at + 6]
            if n + 2 + 2 * words > MAX_PDU:
                return -ILLEGAL_VALUE
            if request[at] != _FILE_REFERENCE or not file or record >= _FILE_RECORDS or not words:
                return -ILLEGAL_ADDRESS
            words = files.read(file, record, words, response, n + 2)
            if words < 0:
                return words
            response[n] = 1 + 2 * words
            response[n + 1] = _FILE_REFERENCE
            n += 2 + 2 * words
        response[1] = n - 2
        return n

    # --- diagnostics and identification ---------------------------------------------------

    def _diagnose(
        self, request: "bytearray | memoryview", length: int, response: "bytearray | memoryview"
    ) -> int:
        if length < 3 or length > MAX_PDU:
            return -ILLEGAL_VALUE
        sub = request[1] << 8 | request[2]
        if sub == 0:  # return query data
            return _echo(request, length, response)
        if sub not in (1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20):
            return -ILLEGAL_FUNCTION
        if length != 5:
            return -ILLEGAL_VALUE
        data = request[3] << 8 | request[4]
        if data and not (sub == 1 and data == 0xFF00):
            return -ILLEGAL_VALUE
        _echo(request, 5, response)
        if sub in (1, 10):  # restart communications; clear counters
            self.clear_counters()
            return 5
        value = 0  # 2 diagnostic register, 16 NAK and 17 busy count: there is none of these
        if sub == 11:
            value = self.bus_messages
        elif sub == 12:
            value = self.bus_errors
        elif sub == 13:
            value = self.exceptions
        elif sub == 14:
            value = self.server_messages
        elif sub == 15:
            value = self.no_responses
        elif sub == 18:
            value = self.overruns
        elif sub == 20:
            self.overruns = 0
        response[3] = value >> 8 & 0xFF
        response[4] = value & 0xFF
        return 5

    def _identify(
        self, request: "bytearray | memoryview", length: int, response: "bytearray | memoryview"
    ) -> int:
        if length < 2 or request[1] != _IDENTIFICATION:
            return -ILLEGAL_FUNCTION
        if length != 4 or not 1 <= request[2] <= 4:
            return -ILLEGAL_VALUE
        code = request[2]
        wanted = request[3]
        at = self._object_index(wanted)
        if at < 0 and code == 4:
            return -ILLEGAL_ADDRESS
        at = max(at, 0)  # a stream that does not know where to begin begins at the beginning
        last = wanted if code == 4 else _LAST_OBJECT[code - 1]
        response[1] = _IDENTIFICATION
        response[2] = code
        response[3] = _CONFORMITY
        response[4] = 0  # nothing more follows: all objects together have 222 bytes at most
        response[5] = 0
        n_objects = 0
        n = 7
        while at < len(self._objects) and self._objects[at][0] <= last:
            number, source, start, size = self._objects[at]
            while size and source[start + size - 1] == 0:  # a string is filled up with zeros
                size -= 1
            response[n] = number
            response[n + 1] = size
            for i in range(size):
                response[n + 2 + i] = source[start + i]
            n += 2 + size
            n_objects += 1
            at += 1
        response[6] = n_objects
        return n

    def _object_index(self, number: int) -> int:
        for i in range(len(self._objects)):
            if self._objects[i][0] == number:
                return i
        return -1


def _identity(register_map: RegisterMap) -> "list[tuple[int, bytes | bytearray, int, int]]":
    """Objects of function 43/14 in order: number, where its text stands, from, at most bytes."""
    common = register_map.block(models.COMMON)
    device = register_map.block(models.DEVICE)
    objects: "list[tuple[int, bytes | bytearray, int, int]]" = []
    for number, block, name in (
        (0x00, common, "Mn"),  # VendorName
        (0x01, common, "Md"),  # ProductCode
        (0x02, common, "Vr"),  # MajorMinorRevision
        (0x05, common, "Md"),  # ModelName
        (0x80, common, "SN"),  # ours: serial number, board, measuring chip
        (0x81, device, "Brd"),
        (0x82, device, "Afe"),
    ):
        offset, words, _rw = block.layout.place(name)
        objects.append((number, register_map.image, block.start + 2 * offset, 2 * words))
    product = b"Battery pack controller"
    objects.insert(3, (0x04, product, 0, len(product)))  # ProductName
    return objects


def _sealed(block: Block) -> "tuple[int, int, int]":
    """What is written with a response in one request: first register, how many, of which model."""
    layout = block.layout
    offset = layout.offset("Resp1")
    return block.start // 2 + offset, layout.offset("SeqEnd") - offset, layout.id


def _value(data: "bytes | bytearray | memoryview", at: int, words: int) -> int:
    value = data[at] << 8 | data[at + 1]
    if words == 2:
        value = value << 16 | data[at + 2] << 8 | data[at + 3]
    return value


def _echo(request: "bytearray | memoryview", n: int, response: "bytearray | memoryview") -> int:
    for i in range(1, n):
        response[i] = request[i]
    return n
