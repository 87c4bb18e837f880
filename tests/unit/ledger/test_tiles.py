"""Names and bytes of tiles and bundles."""

from __future__ import annotations

import pytest

from psp.errors import LedgerError
from psp.ledger._tiles import (
    bundle_path,
    decode_bundle_untrusted,
    decode_tile_untrusted,
    encode_bundle,
    encode_tile,
    partials_path,
    take_entries_untrusted,
    tile_path,
)
from psp.ledger._tree import TileId


@pytest.mark.parametrize(
    ("index", "path"),
    [
        (0, "tile/0/000"),
        (67, "tile/0/067"),
        (999, "tile/0/999"),
        (1000, "tile/0/x001/000"),
        (1_234_067, "tile/0/x001/x234/067"),  # The example of tlog-tiles.
    ],
)
def test_a_tiles_path_has_three_digits_a_step(index: int, path: str) -> None:
    assert tile_path(TileId(0, index)) == path


def test_a_partial_tile_is_named_after_its_width() -> None:
    assert tile_path(TileId(2, 0), 1) == "tile/2/000.p/1"
    assert bundle_path(273, 112) == "tile/entries/273.p/112"
    assert partials_path(bundle_path(273)) == "tile/entries/273.p"


def test_a_tile_is_raw_hashes() -> None:
    hashes = [bytes([i]) * 32 for i in range(3)]
    assert encode_tile(hashes) == b"".join(hashes)
    assert decode_tile_untrusted(encode_tile(hashes), width=3) == hashes


@pytest.mark.parametrize("size", [0, 63, 65, 96])
def test_a_tile_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(LedgerError, match="2 hashes take 64"):
        decode_tile_untrusted(bytes(size), width=2)


def test_a_bundle_is_entries_behind_their_16_bit_lengths() -> None:
    assert encode_bundle([b"ab", b"", b"c"]) == b"\0\2ab\0\0\0\1c"
    assert decode_bundle_untrusted(b"\0\2ab\0\0\0\1c", width=3) == [b"ab", b"", b"c"]


def test_the_longest_entry_fits_and_one_byte_more_does_not() -> None:
    assert decode_bundle_untrusted(encode_bundle([bytes(65_535)]), width=1) == [bytes(65_535)]
    with pytest.raises(LedgerError, match=r"65,536 bytes.*65,535.*Seal the bytes as an asset"):
        encode_bundle([bytes(65_536)])


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\2a", b"\0\1a\0", b"\0\1a\0\1"])
def test_a_bundle_that_is_cut_off_is_refused(data: bytes) -> None:
    with pytest.raises(LedgerError, match="cut off in entry"):
        decode_bundle_untrusted(data, width=2)


def test_bytes_after_the_last_entry_are_refused() -> None:
    with pytest.raises(LedgerError, match="1 bytes follow the last of 1 entries"):
        decode_bundle_untrusted(b"\0\1ab", width=1)
    assert take_entries_untrusted(b"\0\1ab", count=1) == ([b"a"], 3)
