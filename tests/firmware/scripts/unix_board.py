"""Run on either interpreter: every operation of the desk board against a small world.

    unix_board.py SOCKET

Prints ``ok`` when all is as it must be, and what a hundred bus accesses allocate.
"""

import errno
import gc
import sys

from firmware.boards.unix import LinkLostError, UnixBoard

board = UnixBoard(sys.argv[1], ".", "P1")
assert board.reset_cause == 1
assert board.ticks_ms() == 5

data = bytearray(4)
board.i2c.writeto_mem(8, 0x20, b"\x01\x02\x03\x04")
board.i2c.readfrom_mem_into(8, 0x20, data)
assert data == b"\x01\x02\x03\x04", data
for address, code in ((9, errno.EIO), (10, errno.ETIMEDOUT)):
    found = 0
    try:
        board.i2c.readfrom_mem_into(address, 0x20, data)
    except OSError as error:
        found = error.errno
    assert found == code

before = board.ticks_ms()
board.wait(board.ticks_add(before, 250))
assert board.ticks_diff(board.ticks_ms(), before) == 250
board.wait(before)  # the past is now
assert board.ticks_diff(board.ticks_ms(), before) == 250
for _ in range(2):  # past 2**32 microseconds
    before = board.ticks_ms()
    board.wait(board.ticks_add(before, 3000000))
    assert board.ticks_diff(board.ticks_ms(), before) == 3000000

assert board.uart.any() == 0
assert board.uart.readinto(data) is None
assert board.uart.write(b"hello") == 5  # this world sends it back
assert board.uart.any() == 5
assert board.uart.readinto(data) == 4
assert data == b"hell"
assert board.uart.readinto(data) == 1
assert data[0] == ord("o")

answer = bytearray(3)
board.spi_transfer(b"\x00\x0f\xff", answer)
assert answer == b"\xff\xf0\x00", answer
board.drive_switches(5)
assert board.switch_feedback() == 5
before = board.ticks_ms()
for _ in range(3):
    board.sleep_us(400)
assert board.ticks_diff(board.ticks_ms(), before) == 1
board.wait(board.ticks_ms())  # the rest of the millisecond is not in the past

board.feed_watchdog()
assert board.ticks_diff(board.ticks_us(), board.ticks_us()) <= 0
assert board.ticks_diff(3, (1 << 30) - 2) == 5
assert board.ticks_add((1 << 30) - 2, 5) == 3

used = after = 0
if hasattr(gc, "mem_alloc"):
    view = memoryview(data)
    gc.collect()
    gc.disable()
    used = gc.mem_alloc()
    for _ in range(100):
        board.i2c.readfrom_mem_into(8, 0x20, view)
        board.i2c.writeto_mem(8, 0x20, view)
        board.spi_transfer(view, view)
        board.spi_transfer(view, None)
        board.feed_watchdog()
        board.sleep_us(10)
        board.drive_switches(3)
        board.switch_feedback()
        board.uart.any()
        board.wait(board.ticks_add(board.ticks_ms(), 1))
    after = gc.mem_alloc()
    gc.enable()
print(after - used, "bytes")

try:
    board.i2c.writeto_mem(11, 0, b"")  # this world then goes away
    print("the link is still there")
except LinkLostError:
    print("ok")
