import json

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


@pytest.mark.parametrize("value", ["3700", 3700.0, True, None, [3700]])
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
    assert refused(baudrate=115201).startswith("baudrate 115201 is not usual")


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


@pytest.mark.parametrize("serial", ["", "S" * 33, 7, None])
def test_a_serial_number_must_fit_its_registers(serial: object) -> None:
    assert refused(serial=serial).startswith(f"serial {serial!r} must be a string of 1 to 32")


@pytest.mark.parametrize("profile", [None, 7, ["lfp"]])
def test_a_profile_must_be_a_name(profile: object) -> None:
    assert refused(profile=profile) == f"profile {profile!r} must be a string"
