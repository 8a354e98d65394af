"""Run on MicroPython: the loader starts modules out of an image; files are read side by side.

    loader_import.py ROOT

Prints what the module returns, and what of the image's file system is seen.
"""

import os
import sys

from firmware import loader

print(loader.start("package.part", sys.argv[1], ["arguments"]))
mount = sys.path[0]
print(loader.slot, mount)
kind = os.stat(mount + "/package")[0]  # noqa: PTH116
print(kind == 0x4000, os.stat(mount + "/package/part.py")[6])  # noqa: PTH116
for name in ("/package/absent.py", "/pack", "/part.py"):
    try:
        os.stat(mount + name)  # noqa: PTH116
        print("there is", name)
    except OSError as error:
        print(error.errno)
for mode in ("w", "a", "r+"):
    try:
        open(mount + "/package/part.py", mode)  # noqa: PTH123, SIM115
        print("opened", mode)
    except OSError as error:
        print(error.errno)
one = open(mount + "/package/part.py", "rb")  # noqa: PTH123, SIM115
two = open(mount + "/package/big.py", "rb")  # noqa: PTH123, SIM115
for file, n_bytes in ((one, 20), (two, 7), (one, 3), (two, 20000)):
    buffer = bytearray(n_bytes)
    print(file.readinto(buffer), bytes(buffer[:20]))
