"""The folder of the history's segments: which files it has, of which pack, and what they take."""

from pathlib import Path

from firmware.segments import Folder, header


def test_a_folder_counts_whole_blocks_and_its_own_files(tmp_path: Path) -> None:
    root = tmp_path / "history"
    folder = Folder(str(root))
    assert (folder.firsts, folder.sizes) == ([], [])
    folder.look()
    assert root.is_dir()
    assert (folder.firsts, folder.sizes, folder.used_bytes()) == ([], [], 0)
    for name, size in (("0000000a", 1), ("00000100", 4096), ("00000002", 4097), ("ffffffff", 0)):
        (root / name).write_bytes(bytes(size))
    for name in ("notes.tx", "123", "000000001", "0000000g"):
        (root / name).write_bytes(bytes(5))
    folder.look()
    assert folder.firsts == [2, 10, 256, 0xFFFFFFFF]
    assert folder.sizes == [4097, 1, 4096, 0]
    assert folder.used_bytes() == 8192 + 4096 + 4096
    folder.remove(1)
    assert (folder.firsts, folder.sizes) == ([2, 256, 0xFFFFFFFF], [4097, 4096, 0])
    assert not (root / "0000000a").exists()
    assert folder.name(256) == f"{root}/00000100"


def test_a_segment_is_of_the_pack_in_its_header_and_a_broken_header_is_no_other_pack_s(
    tmp_path: Path,
) -> None:
    folder = Folder(str(tmp_path))
    for first, content in enumerate(
        (
            header(7, 16, 0), header(7, 16, 1) + b"more", header(8, 16, 2), header(7, 15, 3),
            header(0xFFFFFFFF, 200, 4), b"", header(8, 16, 6)[:16], header(8, 16, 7)[:-1] + b"x",
            b"x" + header(8, 16, 8)[1:], header(8, 16, 9) + b"more",
        )
    ):  # fmt: skip
        (tmp_path / f"{first:08x}").write_bytes(content)
    folder.look()
    assert [folder.is_of(place, 7, 16) for place in range(10)] == [
        True, True, False, False, False, True, True, True, True, False,
    ]  # fmt: skip
    assert folder.is_of(4, 0xFFFFFFFF, 200)
