"""Run on MicroPython: what a stretch of running at default intervals costs each block of flash.

    micropython flash_life.py PROGSIZE BLOCKS HOURS BATCH_S BATCH_BYTES

Records are saved as the application saves them, into littlefs on simulated flash; besides,
BATCH_BYTES of history are appended every BATCH_S seconds to segments of 16 kB in a folder of their
own, and the oldest deleted, so that four fifths of the flash are in use. It is full of history
before it is counted. Prints one line: erases in all, most of a block, programs in all, and blocks
in use.
"""

import os
import sys

from cutting import PLACE, Flash

SAVE_S = 300
SEGMENT_BYTES = 16384
LIFETIME_BYTES = 336
ESTIMATES_BYTES = 870  # of 16 cells
RESTART_S = 86400  # a board that is switched on once a day: boot, and a command each way

progsize, n_blocks, hours, batch_s, batch_bytes = [int(word) for word in sys.argv[1:]]
medium = Flash(progsize, n_blocks)
medium.chip.log = None
n_segments = n_blocks * 4096 * 4 // 5 // SEGMENT_BYTES
history = PLACE + "/history"
os.mkdir(history)  # noqa: PTH102
first = 1
current = 0
filled = SEGMENT_BYTES


def append(data):
    """Into the newest segment; the oldest makes room for a new one."""
    global first, current, filled
    if filled + len(data) > SEGMENT_BYTES:
        current += 1
        filled = 0
        if current - first >= n_segments:
            os.remove(f"{history}/{first}")  # noqa: PTH107
            first += 1
    with open(f"{history}/{current}", "ab") as file:  # noqa: PTH123
        file.write(data)
    filled += len(data)


while current < n_segments or filled + 4000 < SEGMENT_BYTES:
    append(bytes(4000))
storage = medium.storage()
for name, n_bytes in (("boot", 4), ("connected", 1), ("test", 324), ("limits", 620)):
    storage.save(name, bytes(n_bytes))
before = list(medium.chip.erases)
programs = sum(medium.chip.programs)
for now_s in range(0, hours * 3600, 60):
    if now_s % SAVE_S == 0:
        storage.save("lifetime", bytes([now_s & 255] * LIFETIME_BYTES))
        storage.save_parts("estimates", ESTIMATES_BYTES, [bytes(10)] * (ESTIMATES_BYTES // 10))
    if now_s % batch_s == 0:
        append(bytes([now_s & 255] * batch_bytes))
    if now_s % RESTART_S == 0:
        storage = medium.storage()
        storage.save("boot", b"1234")
        storage.save("connected", b"0")
        storage.save("connected", b"1")
erases = [medium.chip.erases[k] - before[k] for k in range(n_blocks)]
print(
    sum(erases), max(erases), sum(medium.chip.programs) - programs, len([n for n in erases if n])
)
