"""The register map: one table for board, gateway, documentation and the SunSpec JSON files.

A model is ``(id, name, label, rows, group, tail)``; a row is ``(names, type[, sf[, access]])`` of
points in a row that are alike:

* type: SunSpec's, with the length of a string in registers behind a colon (``string:16``);
* sf: power of ten that turns the register into the unit, or the name of the point that holds it;
* access: ``R``; ``RW`` for what a client may write; ``r`` for what the board writes by its place,
  in one piece with the point before it: a board spares the memory of its name.

``group`` is ``(name, rows)`` and stands once per cell; ``tail`` stands behind it. ``model`` gives
the points one by one: the rows are constants, which take no memory of a board. Units and meanings
are in ``model_docs``, which boards do not load. Models 1, 802 and 805 are SunSpec's
(sunspec/models, Apache-2.0: the layout is theirs, word for word of names and types). Ours:

* begin with the CRC-32 of the serial number and a sequence, and end with the same sequence,
  so that a torn answer, or one of another pack or another time, is seen;
* hold current, and everything signed, as positive when charging.
"""

BASE_ADDRESS = 40000
SUNS = b"SunS"
MAP_VERSION = 3

COMMON = 1
BATTERY = 802
MODULE = 805
SNAPSHOT = 64910
HEALTH = 64911
LIFETIME = 64912
PROTECTION = 64913
DEVICE = 64914
CONTROL = 64915
RECALL = 64916
ENERGY = 64917
TEST = 64918
SETTINGS = 64919
UPDATE = 64921
FAULTS = 64922
END = 0xFFFF

MAX_CELLS = 72  # what ``Bal``, ``Bal2`` and ``Bal3`` have bits for
N_TEMPERATURES = 4
N_SOC_BINS = 10  # 0-10 % ... 90-100 %
N_CURRENT_BINS = 9  # discharge from C on ... rest ... charge from C on
N_TEMPERATURE_BINS = 8  # < 0, 0-10, 10-20, 20-30, 30-40, 40-45, 45-60, > 60 degC


_HEAD = (("ID L", "uint16"),)
_STAMP = (("SnCrc Seq", "uint32"),)
_TAIL = (("SeqEnd", "uint32"),)
_LONG_TAIL = (("SnEnd SeqEnd", "uint32"),)  # of what takes two requests: both say whose it is

_COMMON_POINTS = _HEAD + (
    ("Mn Md", "string:16"),
    ("Opt Vr", "string:8"),
    ("SN", "string:16"),
    ("DA", "uint16", None, "RW"),
    ("Pad", "pad"),
)

_BATTERY_POINTS = _HEAD + (
    ("AHRtg", "uint16", "AHRtg_SF"),
    ("WHRtg", "uint16", "WHRtg_SF"),
    ("WChaRteMax WDisChaRteMax", "uint16", "WChaDisChaMax_SF"),
    ("DisChaRte", "uint16", "DisChaRte_SF"),
    ("SoCMax SoCMin", "uint16", "SoC_SF"),
    ("SocRsvMax SoCRsvMin", "uint16", "SoC_SF", "RW"),
    ("SoC", "uint16", "SoC_SF"),
    ("DoD", "uint16", "DoD_SF"),
    ("SoH", "uint16", "SoH_SF"),
    ("NCyc", "uint32"),
    ("ChaSt LocRemCtl", "enum16"),
    ("Hb", "uint16"),
    ("CtrlHb AlmRst", "uint16", None, "RW"),
    ("Typ State", "enum16"),
    ("StateVnd", "enum16"),
    ("WarrDt", "uint32"),
    ("Evt1 Evt2 EvtVnd1 EvtVnd2", "bitfield32"),
    ("V VMax VMin", "uint16", "V_SF"),
    ("CellVMax", "uint16", "CellV_SF"),
    ("CellVMaxStr CellVMaxMod", "uint16"),
    ("CellVMin", "uint16", "CellV_SF"),
    ("CellVMinStr CellVMinMod", "uint16"),
    ("CellVAvg", "uint16", "CellV_SF"),
    ("A", "int16", "A_SF"),
    ("AChaMax ADisChaMax", "uint16", "AMax_SF"),
    ("W", "int16", "W_SF"),
    ("ReqInvState", "enum16"),
    ("ReqW", "int16", "W_SF"),
    ("SetOp SetInvState", "enum16", None, "RW"),
    ("AHRtg_SF WHRtg_SF WChaDisChaMax_SF DisChaRte_SF SoC_SF DoD_SF SoH_SF", "sunssf"),
    ("V_SF CellV_SF A_SF AMax_SF W_SF", "sunssf"),
)

_MODULE_POINTS = _HEAD + (
    ("StrIdx ModIdx NCell", "uint16"),
    ("SoC", "uint16", "SoC_SF"),
    ("DoD", "uint16", "DoD_SF"),
    ("SoH", "uint16", "SoH_SF"),
    ("NCyc", "uint32"),
    ("V", "uint16", "V_SF"),
    ("CellVMax", "uint16", "CellV_SF"),
    ("CellVMaxCell", "uint16"),
    ("CellVMin", "uint16", "CellV_SF"),
    ("CellVMinCell", "uint16"),
    ("CellVAvg", "uint16", "CellV_SF"),
    ("CellTmpMax", "int16", "Tmp_SF"),
    ("CellTmpMaxCell", "uint16"),
    ("CellTmpMin", "int16", "Tmp_SF"),
    ("CellTmpMinCell", "uint16"),
    ("CellTmpAvg", "int16", "Tmp_SF"),
    ("NCellBal", "uint16"),
    ("SN", "string:16"),
    ("SoC_SF SoH_SF DoD_SF V_SF CellV_SF Tmp_SF", "sunssf"),
)

_MODULE_CELL = (
    ("CellV", "uint16", "CellV_SF"),
    ("CellTmp", "int16", "Tmp_SF"),
    ("CellSt", "bitfield32"),
)

_SNAPSHOT_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("Boot UpS", "uint32"),
        ("UpMs", "uint16"),
        ("Utc", "uint32"),
        ("TQual St", "enum16"),
        ("Sw", "bitfield16"),
        ("Flt Ltc Bal Bal2", "bitfield32"),
        ("Bal3", "bitfield16"),
        ("NCell", "uint16"),
        ("V VStk", "uint32", -3),
        ("A", "int32", -3),
        ("Soc SocLo SocHi", "uint16", -2),
        ("SocSync", "enum16"),
        ("SocAge", "uint32"),
        ("Soh SohLo SohHi", "uint16", -2),
        ("SohMth", "enum16"),
        ("SohAge", "uint32"),
        ("Tmp1 Tmp2 Tmp3 Tmp4 TmpFet TmpAfe", "int16", -1),
    )
)
_SNAPSHOT_CELL = (("V", "uint16", -3),)

_HEALTH_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("Boot", "uint32"),
        ("NCell", "uint16"),
        ("Soh SohLo SohHi", "uint16", -2),
        ("Mth Ref Next", "enum16"),
        ("SohAge", "uint32"),
        ("SohN", "uint16"),
        ("Cap CapLo CapHi CapRtg", "uint32", -3),
        ("R RLo RHi RRef", "uint32", -6),
        ("RMth", "enum16"),
        ("RPulse", "uint16", -3),
        ("RAge", "uint32"),
        ("Spread SpreadHi", "uint16", -2),
        ("Weak", "uint16"),
        ("WeakZ", "uint16", -1),
        ("RestDv", "uint16", -3),
        ("RestDvAge", "uint32"),
        ("Chem", "enum16"),
        ("Prof", "string:8"),
        ("ProfCrc", "uint32"),
    )
)
_HEALTH_CELL = (
    ("Soh SohLo SohHi", "uint16", -2),
    ("Mth", "enum16"),
    ("AgeH", "uint16"),
    ("R RLo RHi", "uint16", -5),
)

_LIFETIME_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("ChaAh DisAh ChaWh DisWh", "uint32", -1),
        ("Fec", "uint32", -2),
        ("NDeep NOver", "uint32"),
        ("HotMin ColdMin HotChaMin ColdChaMin RunMin", "uint32"),
        ("VMinEver VMaxEver", "uint16", -3),
        ("TMinEver TMaxEver", "int16", -1),
        ("AChaEver ADisEver", "uint32", -3),
        ("Soc0", "uint32"),
        ("Soc1 Soc2 Soc3 Soc4 Soc5 Soc6 Soc7 Soc8 Soc9", "uint32", None, "r"),
        ("Tmp0 Tmp1 Tmp2 Tmp3 Tmp4 Tmp5 Tmp6 Tmp7", "uint32", None, "r"),
        ("Cur0 Cur1 Cur2 Cur3 Cur4 Cur5 Cur6 Cur7 Cur8", "uint32", None, "r"),
        ("Rte0 Rte0Lo Rte0Hi", "uint16", -2, "r"),
        ("Rte0Min", "uint32", None, "r"),
        ("Self0 Self0Lo Self0Hi", "uint16", -2, "r"),
        ("Self0Min", "uint32", None, "r"),
        ("SelfChg SelfChgLo SelfChgHi", "int32", -2),
    )
)

_PROTECTION_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("St", "enum16"),
        ("Sw", "bitfield16"),
        ("Flt Ltc Wrn", "bitfield32"),
        ("AfeSta AfePf", "bitfield32"),
        ("Cov CovRel Cuv CuvRel Cdd", "uint16", -3),
        ("Occ Ocd", "uint32", -3),
        ("Otc Utc Otd Utd Otf", "int16", -1),
        ("Ccl Dcl Cvl", "uint32", -3),
        ("CclWhy DclWhy CvlWhy", "enum16"),
        ("ReqA", "int32", -3),
        ("NFlt", "uint16"),
        ("LastFlt", "uint16"),
        ("LastFltS", "uint32"),
        ("LastFltV", "int32"),
    )
)

_DEVICE_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("MapVer", "uint16"),
        ("ISign", "int16"),
        ("Boot UpS", "uint32"),
        ("RstCause", "enum16"),
        ("Utc", "uint32"),
        ("TQual", "enum16"),
        ("Fw Brd Afe", "string:8"),
        ("CfgCrc AfeSig", "uint32"),
        ("MeasUs EstUs ComUs ImgUs BalUs TstUs StoUs KeepUs LoopUs Overrun", "uint32"),
        ("AfeErr RxOk RxBad RxExc", "uint32"),
        ("MemFree", "uint32"),
        ("RecEvery RecDepth", "uint16"),
        ("RecFirst RecLast", "uint32"),
        ("Mode", "enum16"),
        ("NErr", "uint32"),
        ("ErrTsk ErrWhy", "enum16"),
        ("TskOff", "bitfield16"),
        ("NCrash", "uint16"),
        ("CrashTsk CrashWhy", "enum16"),
    )
)

_ENERGY_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("Boot", "uint32"),
        ("NCell", "uint16"),
        ("Wh WhLo WhHi", "uint32", -1),
        ("WhA", "uint32", -3),
        ("P80 P80Lo P80Hi P20 P20Lo P20Hi", "uint32"),
        ("PwrS", "uint16"),
        ("EnRef", "enum16"),
        ("Rte RteLo RteHi", "uint16", -2),
        ("RteMth RteRef", "enum16"),
        ("RteAge", "uint32"),
        ("SelfDis SelfDisLo SelfDisHi", "uint16", -2),
        ("SelfRef", "enum16"),
        ("SelfAge", "uint32"),
        ("IOff IOffLo IOffHi", "int32", -6),
        ("IOffAge", "uint32"),
    )
)
_ENERGY_CELL = (
    ("Soc SocLo SocHi", "uint16", -2),
    ("Dif DifLo DifHi", "int16", -2),
    ("Leak LeakLo LeakHi", "int16", -2),
    ("Bled", "uint32", -3),
)

_TEST_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("Boot", "uint32"),
        ("NCell", "uint16"),
        ("Tst TstPh TstStop", "enum16"),
        ("Stp NStp", "uint16"),
        ("Elap Left", "uint32"),
        ("EndTst EndStop", "enum16"),
        ("EndBoot EndUpS EndUtc", "uint32"),
        ("ResTst ResMth ResRef", "enum16"),
        ("ResBoot ResUpS ResUtc ResDur", "uint32"),
        ("ResTmp", "int16", -1),
        ("NPul", "uint16"),
        ("Wid1 Wid2", "uint16"),
        ("RteC", "uint16", -2),
        ("ChaAh DisAh", "uint32", -3),
        ("ChaWh DisWh", "uint32", -1),
        ("Soh SohLo SohHi", "uint16", -2),
        ("MdlCrc", "uint32"),
    )
)
_TEST_CELL = (
    ("Soh SohLo SohHi", "uint16", -2),
    ("Ref", "enum16"),
    ("R RLo RHi", "uint16", -5),
)

# Named by their keys in the settings file; a register holds the file's number.
_REMOTE_POINTS = (
    ("record_every detail_every stack_tolerance_mv spread_mv", "uint16", None, "RW"),
    ("cov_mv cov_release_mv cuv_mv cuv_release_mv", "uint16", None, "RW"),
    ("balance_start_mv balance_min_mv balance_max_cells", "uint16", None, "RW"),
    ("balance_max_dc otc_dc utc_dc otd_dc utd_dc otf_dc", "int16", None, "RW"),
    ("occ_ma ocd_ma", "uint32", None, "RW"),
)
REMOTE = tuple(" ".join([row[0] for row in _REMOTE_POINTS]).split())  # what may be set over Modbus

_SETTINGS_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("SetSt SetRes SetSrc", "enum16"),
        ("Ref1 Ref2", "uint16"),
        ("Wait", "uint16"),
        ("NFail FailUtc", "uint32"),
        ("Sel", "uint16", None, "RW"),
        ("SelLo SelHi", "int32"),
        ("Chal1 Chal2 Chal3 Chal4", "uint32"),
        ("Resp1 Resp2 Resp3 Resp4 Resp5 Resp6 Resp7 Resp8", "uint32", None, "RW"),
    )
    + _REMOTE_POINTS
)

_UPDATE_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("UpSt UpRes", "enum16"),
        ("Slot", "uint16"),
        ("Have Size", "uint32"),
        ("Img1 Img2 Run1 Run2", "uint32"),
        ("Left", "uint16"),
    )
)

_CONTROL_POINTS = _HEAD + (
    ("Cmd", "enum16", None, "RW"),
    ("CmdRes", "enum16"),
    ("SetUtc RecSel", "uint32", None, "RW"),
    ("FltSel", "uint16", None, "RW"),
)

# From ``FltN`` on as ``firmware.fault_memory`` keeps it, byte by byte.
_FAULTS_POINTS = (
    _HEAD
    + _STAMP
    + (
        ("Boot NFlt", "uint32"),
        ("Ever Unsvd", "bitfield32"),
        ("FltNo", "enum16"),
        ("FltN", "uint16"),
        ("FstBoot FstSeq FstUtc", "uint32", None, "r"),
        ("FstTQ", "enum16", None, "r"),
        ("LstBoot LstSeq LstUtc", "uint32", None, "r"),
        ("LstTQ", "enum16", None, "r"),
        ("Val Lim", "int32", None, "r"),
        ("V", "uint32", -3, "r"),
        ("A", "int32", -3, "r"),
        ("CellVMax", "uint16", -3, "r"),
        ("CellVMaxCell", "uint16", None, "r"),
        ("CellVMin", "uint16", -3, "r"),
        ("CellVMinCell", "uint16", None, "r"),
        ("CellTmpMax CellTmpMin", "int16", -1, "r"),
        ("Sw SwOff", "bitfield16", None, "r"),
        ("Soc", "uint16", -2, "r"),
        ("St", "enum16", None, "r"),
        ("Flt", "bitfield32", None, "r"),
    )
)

MODELS = (
    (COMMON, "common", "Common", _COMMON_POINTS, None, ()),
    (BATTERY, "battery", "Battery Base Model", _BATTERY_POINTS, None, ()),
    (
        MODULE,
        "lithium-ion-module",
        "Lithium-Ion Module Model",
        _MODULE_POINTS,
        ("lithium-ion-module-cell", _MODULE_CELL),
        (),
    ),
    (SNAPSHOT, "snapshot", "Echelon Snapshot", _SNAPSHOT_POINTS, ("Cell", _SNAPSHOT_CELL), _TAIL),
    (HEALTH, "health", "Echelon Health", _HEALTH_POINTS, ("Cell", _HEALTH_CELL), _LONG_TAIL),
    (LIFETIME, "lifetime", "Echelon Lifetime", _LIFETIME_POINTS, None, _TAIL),
    (PROTECTION, "protection", "Echelon Protection", _PROTECTION_POINTS, None, _TAIL),
    (DEVICE, "device", "Echelon Device and Time", _DEVICE_POINTS, None, _TAIL),
    (ENERGY, "energy", "Echelon Energy", _ENERGY_POINTS, ("Cell", _ENERGY_CELL), _LONG_TAIL),
    (TEST, "test", "Echelon Test", _TEST_POINTS, ("Cell", _TEST_CELL), _LONG_TAIL),
    (SETTINGS, "settings", "Echelon Settings", _SETTINGS_POINTS, None, _TAIL),
    (UPDATE, "update", "Echelon Update", _UPDATE_POINTS, None, _TAIL),
    (FAULTS, "faults", "Echelon Faults", _FAULTS_POINTS, None, _TAIL),
    (CONTROL, "control", "Echelon Control", _CONTROL_POINTS, None, ()),
    (RECALL, "recall", "Echelon Recall", _SNAPSHOT_POINTS, ("Cell", _SNAPSHOT_CELL), _TAIL),
)

OURS = (
    SNAPSHOT, HEALTH, LIFETIME, PROTECTION, DEVICE, ENERGY, TEST, SETTINGS, UPDATE, FAULTS,
    CONTROL, RECALL,
)  # fmt: skip


def model(model_id: int) -> "tuple":  # type: ignore[type-arg]
    """One model as ``(id, name, label, points, group, tail)``, its rows as points.

    A point is ``(name, type, sf, access)``. ``KeyError`` for an id we do not have.
    """
    for number, name, label, points, group, tail in MODELS:
        if number == model_id:
            cell = (group[0], _points(group[1])) if group else None
            return number, name, label, _points(points), cell, _points(tail)
    raise KeyError(model_id)


def _points(rows: "tuple") -> "tuple":  # type: ignore[type-arg]
    points = []
    for row in rows:
        sf = row[2] if len(row) > 2 else None
        access = row[3] if len(row) > 3 else "R"
        points += [(name, row[1], sf, access) for name in row[0].split()]
    return tuple(points)
