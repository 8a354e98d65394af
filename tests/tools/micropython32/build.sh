#!/bin/sh
# Builds build/micropython32/micropython: the unix port as boards have it, with 32-bit words,
# 31-bit small integers and 32-bit floats (variant files beside this script).
#
#     tests/tools/micropython32/build.sh [SOURCE]
#
# With FROZEN=1 it is build/micropython32-frozen/micropython, which has the firmware frozen in
# (desk_manifest.py), as a board with little memory has it.
#
# SOURCE is an unpacked MicroPython 1.25 or newer. Without it apt fetches the source package of
# Debian trixie through the machine's own Debian sources, in a folder of its own: neither root nor
# a change to the machine is needed. Needs gcc-multilib, make, python3 and xz-utils.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
variant="$root/tests/tools/micropython32"
out="$root/build/micropython32"
frozen=
if [ -n "${FROZEN:-}" ]; then
    out="$out-frozen"
    frozen="FROZEN_MANIFEST=$variant/desk_manifest.py MICROPY_MPYCROSS=$out/work/cross/mpy-cross"
fi
work="$out/work"
suite=trixie

fail() {
    echo "micropython32: $*" >&2
    exit 1
}

# This machine's Debian sources with the suite changed, as deb-src.
sources() {
    . /etc/os-release
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null |
        awk -v old="$VERSION_CODENAME" -v new="$suite" '
            BEGIN { RS = ""; FS = "\n" }
            $0 ~ "(^|\n)Suites:[^\n]* ?" old "( |\n|$)" && !found {
                found = 1
                for (i = 1; i <= NF; i++) {
                    if ($i ~ /^Types:/) $i = "Types: deb-src"
                    if ($i ~ /^Suites:/) $i = "Suites: " new
                    if ($i !~ /^#/) print $i
                }
            }' >"$work/debian.sources"
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n "s/^deb \(.*\) $VERSION_CODENAME .*main.*/deb-src \1 $suite main/p" |
        head -n 1 >"$work/debian.list"
    [ -s "$work/debian.sources" ] || rm "$work/debian.sources"
    [ -s "$work/debian.list" ] || rm "$work/debian.list"
}

fetch() {
    command -v apt-get >/dev/null || fail "no apt-get: give an unpacked source as SOURCE"
    mkdir -p "$work/sources" "$work/lists/partial" "$work/cache/archives/partial"
    sources
    mv "$work"/debian.* "$work/sources/" 2>/dev/null ||
        fail "no Debian sources in /etc/apt: give an unpacked source as SOURCE"
    set -- -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/sources" \
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" \
        -o "APT::Sandbox::User=$(id -un)"
    apt-get "$@" update
    (cd "$work" && apt-get "$@" source --download-only micropython)
    mkdir "$work/source"
    tar -xf "$work"/micropython_*.orig.tar.xz -C "$work/source" --strip-components 1
}

rm -rf "$work"
mkdir -p "$work"
if [ $# -gt 0 ]; then
    source=$(cd "$1" && pwd)
else
    fetch
    source="$work/source"
fi
if [ -n "$frozen" ]; then
    make -C "$source/mpy-cross" -j"$(nproc)" BUILD="$work/cross" CWARN=-w >"$out/cross.log" 2>&1 ||
        fail "see $out/cross.log"
    # Debian leaves out the library that is looked for here; no manifest of ours takes of it.
    mkdir -p "$source/lib/micropython-lib"
    touch "$source/lib/micropython-lib/README.md"
fi
# Warnings of a newer compiler are not ours to mend.
make -C "$source/ports/unix" -j"$(nproc)" VARIANT_DIR="$variant" BUILD="$work/build" CWARN=-w $frozen \
    >"$out/build.log" 2>&1 || { tail "$out/build.log" >&2; fail "see $out/build.log"; }
mv "$work/build/micropython" "$out/micropython"
rm -rf "$work"
seen=$("$out/micropython" -c 'import sys; print(sys.maxsize, 1 / 3)')
[ "$seen" = "2147483647 0.3333333" ] || fail "not of 32 bits: $seen"
