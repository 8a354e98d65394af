"""Prints what a board says of a profile of its own, of none, and of a looser one."""

import sys

sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[2])

from common.cells import circuit, pulse
from common.profiles import NAMES, profile, profile_crc

for name in NAMES:
    found = profile(name)
    print(name, profile_crc(found), found.windows is None, circuit(name) is None)
    print(pulse(name) is None)
print(profile_crc(profile("my-cell")))
for name in ("nowhere", "my-loose"):
    try:
        profile(name)
    except ValueError as error:
        print(error)
