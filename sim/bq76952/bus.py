"""I2C framing with CRC-8 (x^8 + x^2 + x + 1, start 0, not reflected).

On a write every data byte is followed by its CRC; the first covers address(W), register and data,
each further one its byte alone. On a read the first CRC covers address(W), register, address(R)
and data after a repeated start, address(R) and data where the read has a start of its own.
Vectors of SLUAA11B: ``10 3E 22 -> 63``, ``10 14 11 68 -> 33``, ``0B -> 31``.
"""

BYTE_US = 22.5  # nine bits at 400 kHz
START_STOP_US = 5.0


def _make_table() -> bytes:
    polynomial = 0x107
    table = []
    for value in range(256):
        remainder = value << 8
        for bit in range(15, 7, -1):
            if remainder >> bit & 1:
                remainder ^= polynomial << (bit - 8)
        table.append(remainder)
    return bytes(table)


CRC_OF_BYTE = _make_table()


def crc8(data: bytes) -> int:
    """CRC-8 of ``data``."""
    crc = 0
    for byte in data:
        crc = CRC_OF_BYTE[crc ^ byte]
    return crc


def data_of_write(address: int, write: bytes) -> tuple[bytes, bool]:
    """The data bytes with a good CRC up to the first bad one, and whether all were good.

    ``write`` is the register followed by pairs of data and CRC. A byte without its CRC is bad.
    """
    data = write[1::2]
    codes = write[2::2]
    if not data:
        return b"", True
    first = crc8(bytes((address << 1, write[0], data[0])))
    good = bytes((first,)) + data[1:].translate(CRC_OF_BYTE)
    if codes == good:
        return data, True
    for position, code in enumerate(good):
        if position >= len(codes) or codes[position] != code:
            return data[:position], False
    return data, True


def frame_of_read(address: int, register: int | None, data: bytes) -> bytes:
    """``data`` with a CRC after every byte; ``register`` None: the read has its own start."""
    frame = bytearray(2 * len(data))
    frame[0::2] = data
    frame[1::2] = data.translate(CRC_OF_BYTE)
    reading = address << 1 | 1
    head = (reading,) if register is None else (address << 1, register, reading)
    frame[1] = crc8(bytes((*head, data[0])))
    return bytes(frame)
