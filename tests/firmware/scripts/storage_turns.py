"""Runs on both interpreters: saves a record five times in the folder given, prints what loads."""

import sys

from firmware.storage import Storage

root = sys.argv[1]
for n in range(5):
    storage = Storage(root)
    print(storage.load("counters"))
    storage.save("counters", bytes(range(n + 1)))
print(storage.load("counters"))
