# ruff: noqa: D100, F821
# mypy: ignore-errors

# What goes onto a board, as MicroPython's manifest files say it: include this file from a board's
# own manifest to freeze the firmware into its image. `make firmware` compiles the same list and
# writes it into package.json for mip. What only the desk needs is left out.
metadata(description="Measures, protects and judges a used battery pack.", version="0.1.0")

package(
    "common",
    (
        "__init__.py",
        "cells/__init__.py",
        "cells/calce_cs2.py",
        "cells/nca.py",
        "codes.py",
        "crc.py",
        "ecm.py",
        "models.py",
        "mp.py",
        "profiles.py",
        "registers.py",
    ),
    base_path="..",
    opt=3,
)
package(
    "firmware",
    (
        "__init__.py",
        "afe/__init__.py",
        "afe/bq76952.py",
        "afe/bq76952_bus.py",
        "afe/bq76952_charge.py",
        "afe/bq76952_config.py",
        "afe/bq76952_registers.py",
        "app.py",
        "balancing.py",
        "board.py",
        "boards/__init__.py",
        "boards/rp2.py",
        "estimators/__init__.py",
        "estimators/anchors.py",
        "estimators/charge.py",
        "estimators/estimators.py",
        "estimators/lifetime.py",
        "estimators/ocv.py",
        "estimators/pulse.py",
        "estimators/resistance.py",
        "estimators/soc.py",
        "estimators/soc_filter.py",
        "estimators/soh.py",
        "estimators/window.py",
        "executive.py",
        "image.py",
        "image_sunspec.py",
        "limits.py",
        "main.py",
        "measurement.py",
        "modbus/__init__.py",
        "modbus/pdu.py",
        "modbus/rtu.py",
        "modbus/tcp.py",
        "protection.py",
        "quicktest.py",
        "recall.py",
        "settings.py",
        "snapshot.py",
        "storage.py",
    ),
    base_path="..",
    opt=3,
)
