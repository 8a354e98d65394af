import binascii
import contextlib
import json
import re
from pathlib import Path

import pytest
from core_fakes import nmc
from hypothesis import given
from hypothesis import strategies as st

from common.profiles import NAMES
from firmware.settings import RANGES, Settings, SettingsError, load

PACK = {"serial": "P1", "n_cells": 16, "profile": "lfp", "rated_mah": 100000}


def refused(**changes: object) -> str:
    with pytest.raises(SettingsError) as error:
        Settings.from_dict({**PACK, **changes})
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("profile", NAMES)
@pytest.mark.parametrize("n_cells", [3, 16])
@pytest.mark.parametrize("rated_mah", [1000, 100000, 280000, 1000000])
def test_what_follows_from_a_profile_is_sound(profile: str, n_cells: int, rated_mah: int) -> None:
    pack = {**PACK, "profile": profile, "n_cells": n_cells, "rated_mah": rated_mah}
    Settings.from_dict(pack).check()


def test_every_key_that_is_given_is_taken() -> None:
    given = {"cov_mv": 3700, "address": 7, "baudrate": 9600, "ocd_ma": 50000, "utc_dc": 50}
    settings = Settings.from_dict({**PACK, **given})
    assert {name: getattr(settings, name) for name in given} == given


@pytest.mark.parametrize("name", ["serial", "n_cells", "profile", "rated_mah"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is missing"):
        Settings.from_dict({key: value for key, value in PACK.items() if key != name})


def test_a_current_that_the_shunt_cannot_show_is_refused() -> None:
    assert refused(shunt_uohm=2000) == (
        "occ_ma 100000 cannot be seen: shunt_uohm 2000 measures up to 100000 mA (lower one)"
    )
    Settings.from_dict({**PACK, "shunt_uohm": 2000, "occ_ma": 50000, "ocd_ma": 99000}).check()


def test_an_answer_must_fit_between_two_measurements() -> None:
    assert refused(period_ms=100, baudrate=9600).startswith("period_ms 100 is too short for")
    for baudrate in (19200, 115200):
        Settings.from_dict({**PACK, "period_ms": 300, "baudrate": baudrate}).check()


def test_an_unknown_key_is_refused() -> None:
    assert refused(cov=3700).startswith("cov is not a setting")


@pytest.mark.parametrize("value", ["3700", 3700.0, True, False, None, [3700]])
def test_a_limit_must_be_a_whole_number(value: object) -> None:
    assert refused(cov_mv=value) == f"cov_mv {value!r} must be a whole number"


@pytest.mark.parametrize("value", ["", 7, "x" * 33])
def test_a_serial_must_fit_its_register(value: object) -> None:
    assert refused(serial=value).startswith(f"serial {value!r} must be a string")


def test_an_unknown_profile_names_the_known_ones() -> None:
    assert "known: nmc, lfp" in refused(profile="lead")


@pytest.mark.parametrize(
    ("name", "loose", "hard"),
    [
        ("cov_mv", 3751, 3750),
        ("cov_release_mv", 3601, 3600),
        ("cuv_mv", 2299, 2300),
        ("occ_ma", 100001, 100000),
        ("ocd_ma", 200001, 200000),
        ("otc_dc", 451, 450),
        ("utc_dc", -1, 0),
        ("otd_dc", 601, 600),
        ("utd_dc", -201, -200),
        ("otf_dc", 1001, 1000),
        ("spread_mv", 1201, 1200),
        ("stack_tolerance_mv", 421, 420),
    ],
)
def test_a_limit_is_never_looser_than_the_profile(name: str, loose: int, hard: int) -> None:
    assert refused(**{name: loose}).startswith(f"{name} {loose} is ")
    assert getattr(Settings.from_dict({**PACK, name: hard}), name) == hard


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cuv_mv": 2800}, "cuv_mv 2800 must be below cuv_release_mv 2800"),
        ({"cov_mv": 3550}, "cov_release_mv 3550 must be below cov_mv 3550"),
        ({"cuv_release_mv": 3560}, "cuv_release_mv 3560 must be below cov_release_mv 3550"),
        ({"utc_dc": 450}, "utc_dc 450 must be below otc_dc 450"),
        ({"balance_min_mv": 3750}, "balance_min_mv 3750 must be below cov_mv 3750"),
    ],
)
def test_limits_must_follow_each_other(changes: dict[str, int], message: str) -> None:
    assert refused(**changes).startswith(message)


def test_a_baud_rate_nobody_uses_is_refused() -> None:
    usual = "9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600"
    assert refused(baudrate=115201) == f"baudrate 115201 is not usual (use one of {usual})"


@given(st.dictionaries(st.sampled_from([name for name, _, _ in RANGES]), st.integers()))
def test_whatever_is_accepted_holds_the_order_and_the_hard_limits(
    changes: dict[str, int],
) -> None:
    try:
        s = Settings.from_dict({**PACK, **changes})
    except SettingsError:
        return
    assert s.profile.cell_min_mv <= s.cuv_mv < s.cuv_release_mv
    assert s.cuv_release_mv < s.cov_release_mv < s.cov_mv <= s.profile.cell_max_mv
    assert s.occ_ma <= s.rated_mah * s.profile.charge_c10 // 10


def test_the_checksum_follows_every_setting() -> None:
    plain = nmc()
    seen = {plain.config_crc}
    for name, _low, _high in RANGES:
        changed = nmc()
        setattr(changed, name, getattr(changed, name) + 1)
        seen.add(changed.config_crc)
    assert len(seen) == 1 + len(RANGES)
    assert nmc().config_crc == plain.config_crc


def test_a_file_is_loaded(tmp_path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({**PACK, "address": 9}))
    assert load(str(path)).address == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[1]", "must hold one JSON object"),
        ('{"serial": "x"}', "n_cells is missing"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text: str | None, message: str) -> None:
    path = tmp_path / "settings.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError) as error:
        load(str(path))
    assert str(error.value).startswith(f"{path}: {message}")


# --- every setting, as the documentation has it --------------------------------------------------


EXAMPLE = {"serial": "EC-1", "n_cells": 14, "profile": "nmc", "rated_mah": 50000}


def documented(root: Path) -> dict[str, tuple[int | None, int, int]]:
    """{key: (default, lowest, highest)}"""
    text = (root / "docs" / "settings.md").read_text(encoding="utf-8").split("## Every setting")[1]
    rows = re.findall(r"^\| `(\w+)` \| (-?\d*) ?\| (-?\d+) \| (-?\d+) \|", text, re.MULTILINE)
    return {
        name: (int(default) if default else None, int(low), int(high))
        for name, default, low, high in rows
    }


def test_defaults_and_bounds_are_as_documented(root: Path) -> None:
    known = documented(root)
    settings = Settings.from_dict(EXAMPLE)
    assert list(known) == [name for name, _low, _high in RANGES]
    for name, (default, low, high) in known.items():
        assert default in (None, getattr(settings, name)), name
        assert settings.bounds(name) == (low, high), name


def test_beyond_its_bounds_a_setting_is_refused_and_at_them_only_another_is_against_it(
    root: Path,
) -> None:
    for name, (_default, low, high) in documented(root).items():
        for value, is_refused in ((low - 1, True), (low, False), (high, False), (high + 1, True)):
            try:
                Settings.from_dict({**EXAMPLE, "afe": "ltc6813", name: value})
            except SettingsError as error:
                message = str(error)
                assert is_refused == message.startswith(f"{name} {value} is "), message
            else:
                assert not is_refused, (name, value)


# From where to where a number is one at all, whatever the pack.
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("cov_mv", 1500, 5000), ("cov_release_mv", 1500, 5000), ("cuv_mv", 1000, 5000),
        ("cuv_release_mv", 1000, 5000), ("occ_ma", 100, 300000), ("ocd_ma", 100, 300000),
        ("otc_dc", -400, 1000), ("utc_dc", -400, 1000), ("otd_dc", -400, 1000),
        ("utd_dc", -400, 1000), ("otf_dc", 400, 1200), ("stack_tolerance_mv", 50, 5000),
        ("spread_mv", 400, 1200), ("period_ms", 100, 2000), ("balance_min_mv", 1500, 5000),
    ],
)  # fmt: skip
def test_a_number_out_of_all_range_is_told_the_range(name: str, low: int, high: int) -> None:
    for value in (low - 1, high + 1):
        assert refused(**{name: value}) == f"{name} {value} is out of range ({low} to {high})"
    for value in (low, high):
        with contextlib.suppress(SettingsError):
            Settings.from_dict({**PACK, name: value})
            continue
        assert "out of range" not in refused(**{name: value})


def test_a_current_is_bounded_by_what_the_shunt_shows() -> None:
    settings = Settings.from_dict(
        {**EXAMPLE, "shunt_uohm": 2001, "occ_ma": 40000, "ocd_ma": 40000}
    )
    assert settings.bounds("ocd_ma") == (100, 99949)
    assert settings.bounds("occ_ma") == (100, 50000)
    settings.ocd_ma = 99949
    settings.check()
    settings.ocd_ma = 99950
    with pytest.raises(SettingsError, match="ocd_ma 99950 cannot be seen: shunt_uohm 2001 measur"):
        settings.check()


def test_no_pack_is_rated_for_more_than_300_a() -> None:
    settings = Settings("P", 14, "nmc", 1000000)
    assert (settings.occ_ma, settings.ocd_ma) == (300000, 300000)
    settings = Settings("P", 14, "nmc", 150000)
    assert (settings.occ_ma, settings.ocd_ma) == (150000, 300000)


@pytest.mark.parametrize(("profile", "balance_min_mv"), [("lfp", 3400), ("nmc", 3800)])
def test_a_plateau_is_balanced_above_it_alone(profile: str, balance_min_mv: int) -> None:
    assert Settings("P", 14, profile, 50000).balance_min_mv == balance_min_mv


@pytest.mark.parametrize("n_cells", [3, 4, 16])
def test_the_stack_s_tolerance_follows_the_number_of_cells(n_cells: int) -> None:
    settings = Settings("P", n_cells, "nmc", 50000)
    assert settings.stack_tolerance_mv == 100 + 20 * n_cells
    assert settings.bounds("stack_tolerance_mv") == (50, 100 + 20 * n_cells)


# --- what is said --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serial": ""}, "serial '' must be a string of 1 to 32 bytes"),
        ({"serial": "é" * 17}, f"serial {'é' * 17!r} must be a string of 1 to 32 bytes"),
        ({"profile": 7}, "profile 7 must be a string"),
        ({"period_ms": 585, "baudrate": 9600},
         "period_ms 585 is too short for answers at baudrate 9600 (at least 586)"),
        ({"cov_mv": 3751},
         "cov_mv 3751 is above 3750, the limit of 16 cells of lfp, 100000 mAh (lower it)"),
        ({"cuv_mv": 2299},
         "cuv_mv 2299 is below 2300, the limit of 16 cells of lfp, 100000 mAh (raise it)"),
        ({"cuv_mv": 2800}, "cuv_mv 2800 must be below cuv_release_mv 2800 (change one of them)"),
        ({"utd_dc": 600}, "utd_dc 600 must be below otd_dc 600 (change one of them)"),
        ({"balance_min_mv": 2800},
         "cuv_release_mv 2800 must be below balance_min_mv 2800 (change one of them)"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_key_the_value_and_the_way_out(
    changes: dict[str, object], message: str
) -> None:
    assert refused(**changes) == message


def test_what_is_missing_or_unknown_is_said_in_full() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_dict({"serial": "P"})
    assert str(error.value) == "n_cells is missing (write it into the settings)"
    known = ", ".join(name for name, _low, _high in RANGES)
    assert (
        refused(cov=1)
        == f"cov is not a setting (known: serial, profile, afe, chip_cells, {known})"
    )
    with pytest.raises(SettingsError) as error:
        Settings.from_dict({**PACK, "profile": "lead"})
    assert str(error.value).startswith("profile: cell profile 'lead' is not known (known: nmc")


def test_two_settings_against_each_other_are_named_for_programs_too() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_dict({**PACK, "cov_mv": 3550})
    assert error.value.names == ("cov_release_mv", "cov_mv")
    with pytest.raises(SettingsError) as error:
        Settings.from_dict({**PACK, "cov_mv": 3751})
    assert error.value.names == ()
    assert error.value.rest is None


@pytest.mark.parametrize("serial", ["P", "x" * 32, "é" * 16])
def test_what_a_pack_is_is_kept_as_it_was_given(serial: str) -> None:
    settings = Settings.from_dict({**PACK, "serial": serial, "address": 247})
    assert settings.serial == serial
    assert settings.profile.name == "lfp"
    assert (settings.n_cells, settings.rated_mah, settings.address) == (16, 100000, 247)


@pytest.mark.parametrize("baudrate", [9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600])
def test_every_usual_baud_rate_is_taken(baudrate: int) -> None:
    settings = Settings.from_dict({**PACK, "baudrate": baudrate})
    assert settings.baudrate == baudrate
    shortest_ms = 2 * (256 * 11000 // baudrate)  # the longest answer, 11 bits a byte, twice
    if shortest_ms > 100:
        assert Settings.from_dict({**PACK, "baudrate": baudrate, "period_ms": shortest_ms})
        assert "too short" in refused(baudrate=baudrate, period_ms=shortest_ms - 1)


# --- copies -----------------------------------------------------------------------------------


def numbers(settings: Settings) -> dict[str, int]:
    return {name: getattr(settings, name) for name, _low, _high in RANGES}


def test_a_changed_copy_keeps_all_else_and_leaves_the_original() -> None:
    own = {"address": 9, "baudrate": 19200, "shunt_uohm": 400, "cov_mv": 3700, "n_sensors": 3}
    settings = Settings.from_dict({**PACK, **own})
    before = numbers(settings)
    copy = settings.changed({"cov_mv": 3690, "utc_dc": 40})
    assert numbers(copy) == {**before, "cov_mv": 3690, "utc_dc": 40}
    assert numbers(settings) == before
    assert (copy.serial, copy.profile.name) == ("P1", "lfp")
    assert numbers(settings.changed({})) == before


def test_a_copy_changes_nothing_that_comes_from_the_file_alone() -> None:
    settings = Settings.from_dict(PACK)
    assert numbers(settings.changed({"address": 9, "contactors": 1})) == numbers(settings)


def test_a_number_out_of_range_in_a_copy_is_named() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_dict(PACK).changed({"detail_every": 5})
    assert str(error.value) == "detail_every 5 is out of range (10 to 3600)"


def test_a_copy_is_checked() -> None:
    with pytest.raises(SettingsError, match="cov_mv 3751 is above"):
        Settings.from_dict(PACK).changed({"cov_mv": 3751})


def test_settings_become_what_others_are() -> None:
    settings, other = Settings.from_dict(PACK), Settings.from_dict({**PACK, "ocd_ma": 50000})
    settings.take(other)
    assert numbers(settings) == numbers(other)


# --- a file that is wrong -----------------------------------------------------------------------


def test_what_is_right_of_a_wrong_file_is_enough_to_measure(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    least = {"address": 9, "baudrate": 19200, "shunt_uohm": 400, "n_sensors": 3}
    path.write_text(json.dumps({**PACK, **least, "cov_mv": 9999, "ocd_ma": 50000}))
    with pytest.raises(SettingsError) as error:
        load(str(path))
    assert str(error.value) == f"{path}: cov_mv 9999 is out of range (1500 to 5000)"
    rest = error.value.rest
    assert rest is not None
    assert (rest.serial, rest.n_cells, rest.profile.name, rest.rated_mah) == (
        "P1", 16, "lfp", 100000,
    )  # fmt: skip
    assert {name: getattr(rest, name) for name in least} == least
    assert rest.ocd_ma == 200000, "the limits are the profile's"
    path.write_text(json.dumps({**PACK, "n_sensors": 9}))
    with pytest.raises(SettingsError) as error:
        load(str(path))
    assert error.value.rest is None


def test_a_file_that_cannot_be_is_told_why(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    with pytest.raises(SettingsError) as error:
        load(str(path))
    assert str(error.value).startswith(f"{path}: cannot be read ([Errno 2]")
    path.write_text("{")
    with pytest.raises(SettingsError) as error:
        load(str(path))
    assert str(error.value).startswith(f"{path}: is not JSON (Expecting")
    path.write_text("[]")
    with pytest.raises(SettingsError) as error:
        load(str(path))
    assert str(error.value) == f"{path}: must hold one JSON object"


def test_the_checksum_is_of_serial_profile_and_every_number() -> None:
    settings = nmc()
    lines = ["serial=TEST", "profile=nmc", "afe=bq76952()"]
    lines += [f"{name}={value}" for name, value in numbers(settings).items()]
    assert settings.config_crc == binascii.crc32("".join(f"{each}\n" for each in lines).encode())


@pytest.mark.parametrize("serial", ["", "S" * 33, 7, None])
def test_a_serial_number_must_fit_its_registers(serial: object) -> None:
    assert refused(serial=serial).startswith(f"serial {serial!r} must be a string of 1 to 32")


@pytest.mark.parametrize("profile", [None, 7, ["lfp"]])
def test_a_profile_must_be_a_name(profile: object) -> None:
    assert refused(profile=profile) == f"profile {profile!r} must be a string"


# --- which front end is on the board -------------------------------------------------------------

CHIPS_ARE = (
    "of ltc6813 alone, 1 to 4 numbers of 3 to 18 that make n_cells 16 (correct or remove it)"
)


def test_a_pack_has_the_first_front_end_that_measures_so_many_cells() -> None:
    for n_cells, afe, bleed_dua_mv in ((16, "bq76952", 103), (17, "ltc6813", 256)):
        settings = Settings("P", n_cells, "nmc", 50000)
        settings.check()
        assert (settings.afe, settings.bleed_dua_mv) == (afe, bleed_dua_mv)
        assert settings.chip_cells == ()


def test_a_front_end_is_chosen_by_name_and_knows_what_it_bleeds() -> None:
    settings = Settings.from_dict({**PACK, "n_cells": 16, "afe": "ltc6813"})
    assert (settings.afe, settings.bleed_dua_mv) == ("ltc6813", 256)
    other = settings.changed({"cov_mv": settings.cov_mv - 10})
    assert (other.afe, other.bleed_dua_mv, other.chip_cells) == ("ltc6813", 256, ())
    for afe, most in (("bq76952", 16), ("ltc6813", 72)):
        assert Settings.from_dict({**PACK, "n_cells": most, "afe": afe}).n_cells == most
    taken = Settings("P", 16, "nmc", 50000)
    taken.take(settings)
    assert (taken.afe, taken.bleed_dua_mv) == ("ltc6813", 256)


def test_a_front_end_that_does_not_fit_is_refused() -> None:
    assert refused(n_cells=17, afe="bq76952") == (
        "n_cells 17: a bq76952 measures up to 16 (a chain of ltc6813 more: set afe)"
    )
    for afe in ("BQ76952", "", 7, None):
        assert refused(afe=afe) == f"afe {afe!r} is not known (use one of bq76952, ltc6813)"


@pytest.mark.parametrize("chips", [[16], [3, 13], [4, 4, 4, 4], [8, 8]])
def test_the_cells_of_each_chip_may_be_told(chips: list[int]) -> None:
    pack = {**PACK, "n_cells": 16, "afe": "ltc6813"}
    settings = Settings.from_dict({**pack, "chip_cells": chips})
    assert settings.chip_cells == tuple(chips)
    assert settings.changed({}).chip_cells == tuple(chips)
    assert settings.config_crc != Settings.from_dict(pack).config_crc


@pytest.mark.parametrize(
    "chips",
    [
        [16, 0],
        [8, 8, "x"],
        [2, 14],
        [19, -3],
        [8, 9],
        [8, 7],
        [4, 3, 3, 3, 3],
        ["8", 8],
        [8.0, 8.0],
        16,
        None,
    ],
)
def test_cells_of_chips_that_cannot_be_are_refused_in_full(chips: object) -> None:
    told = tuple(chips) if isinstance(chips, list) else chips
    message = refused(n_cells=16, afe="ltc6813", chip_cells=chips)
    assert message == f"chip_cells {told!r}: {CHIPS_ARE}"


def test_cells_of_chips_are_for_a_chain_alone() -> None:
    assert refused(n_cells=16, chip_cells=[8, 8]) == f"chip_cells (8, 8): {CHIPS_ARE}"
    pack = {**PACK, "n_cells": 19, "afe": "ltc6813"}
    with pytest.raises(SettingsError, match="chip_cells"):
        Settings.from_dict({**pack, "chip_cells": [19]})
    assert Settings.from_dict({**pack, "chip_cells": [16, 3]}).chip_cells == (16, 3)
    pack = {**PACK, "n_cells": 18, "afe": "ltc6813"}
    assert Settings.from_dict({**pack, "chip_cells": [18]}).chip_cells == (18,)
