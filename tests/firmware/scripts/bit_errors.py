"""Run on MicroPython: turn single bits of a medium that holds records; what is read of them then.

    micropython bit_errors.py MEDIUM STRIDE [SAVES]

MEDIUM is 32 or 256 (bytes that littlefs programs at once) or ``fram``; every STRIDE-th byte that
is in use is spoiled, one bit of it. Prints how many errors there were, and how many records read
after them were what; asserts that no other than these can be.
"""

import sys

from cutting import Flash, FramMedium

from firmware.fram import RECORDS

NAMES = ("boot", "latched", "crash", "lifetime", "estimates")
SIZE = {"boot": 4, "latched": 4, "crash": 7, "lifetime": 336, "estimates": 924}
BLOCK_BYTES = 4096


def data_of(name, turn):
    return bytes([(turn * 31 + i * 7 + len(name)) & 255 for i in range(SIZE[name])])


def in_use(image):
    """Places of bytes in blocks, or parts of the FRAM, that hold something."""
    if sys.argv[1] == "fram":
        yield from range(2 * (sum([most for _name, most in RECORDS]) + 15 * len(RECORDS)))
        return
    for block in range(len(image) // BLOCK_BYTES):
        content = image[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        if content != b"\xff" * BLOCK_BYTES:
            yield from range(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)


def main():
    medium = FramMedium() if sys.argv[1] == "fram" else Flash(int(sys.argv[1]))
    stride = int(sys.argv[2])
    turns = int(sys.argv[3]) if len(sys.argv) > 3 else 23
    storage = medium.storage()
    for turn in range(turns):
        for name in NAMES:
            storage.save(name, data_of(name, turn))
    medium.strict = False
    whole = bytearray(medium.image)
    spoiled = bytearray(whole)
    counts = {}
    n = 0
    for at in in_use(whole):
        if at % stride:
            continue
        medium.off()
        spoiled[:] = whole
        spoiled[at] ^= 1 << (at * 5 + at // 8) % 8
        n += 1
        try:
            medium.use(spoiled)
        except OSError:
            counts["unmountable"] = counts.get("unmountable", 0) + 1
            continue
        storage = medium.storage()
        seen = []
        for name in NAMES:
            data = storage.load(name)
            what = "none"
            if data is not None:
                turn = turns - 1
                while turn >= 0 and data != data_of(name, turn):
                    turn -= 1
                assert turn >= 0, (at, name, data)
                what = {0: "newest", 1: "one before"}.get(turns - 1 - turn, "older")
            seen.append(what)
        for age in seen:
            what = age + ", told" if age != "newest" and storage.damaged else age
            counts[what] = counts.get(what, 0) + 1
        for name in NAMES:  # the board works on
            try:
                storage.save(name, b"new")
            except OSError:
                counts["not saved"] = counts.get("not saved", 0) + 1
                break
            assert medium.storage().load(name) == b"new", (at, name)
    print(n)
    for what in sorted(counts):
        print(what, counts[what])


main()
