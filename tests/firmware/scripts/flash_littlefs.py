"""Run on MicroPython: littlefs on simulated flash keeps files over a remount, within NOR's rules.

Prints what it finds, for both sizes that ports program at once.
"""

import os

from sim.flash import NorFlash, PowerCut

for progsize in (32, 256):
    flash = NorFlash(32)
    os.VfsLfs2.mkfs(flash, progsize=progsize)
    os.mount(os.VfsLfs2(flash, progsize=progsize), "/flash")
    for n in range(200):
        with open(f"/flash/file.{n % 7}", "wb") as file:  # noqa: PTH123
            file.write(bytes([n]) * (n * 37 % 3000))
    os.umount("/flash")
    os.mount(os.VfsLfs2(NorFlash(image=bytearray(flash.image)), progsize=progsize), "/again")
    for n in range(193, 200):
        with open(f"/again/file.{n % 7}", "rb") as file:  # noqa: PTH123
            assert file.read() == bytes([n]) * (n * 37 % 3000), n
    os.umount("/again")
    print(progsize, "erases", sum(flash.erases) > 50, "programs", sum(flash.programs) > 1000)

    os.mount(os.VfsLfs2(flash, progsize=progsize), "/flash")
    flash.cut_at = flash.n_operations + 3
    flash.cut_how = "bits0"
    try:
        with open("/flash/file.0", "wb") as file:  # noqa: PTH123
            file.write(bytes(10000))
    except PowerCut:
        print("cut")
    os.umount("/flash")
    os.mount(os.VfsLfs2(NorFlash(image=flash.image), progsize=progsize), "/again")
    with open("/again/file.0", "rb") as file:  # noqa: PTH123
        assert file.read() == bytes([196]) * (196 * 37 % 3000)
    os.umount("/again")
