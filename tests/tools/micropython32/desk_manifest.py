# ruff: noqa: F821
# mypy: ignore-errors

# The firmware frozen as on a board with little memory, and what the desk's board needs beside it.
include("../../../firmware/manifest.py")
package("common", ("link.py",), base_path="../../..", opt=3)
package("firmware", ("boards/unix.py",), base_path="../../..", opt=3)
