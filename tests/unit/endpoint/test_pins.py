"""Who may connect while a listener listens, and whose connections end when that changes."""

from __future__ import annotations

from collections.abc import Collection

from psp.endpoint import Pins
from psp.transport import Pin, check_certificate_untrusted
from tests.unit.totebox.conftest import machine


def test_who_is_out_is_out_at_once_and_nobody_else() -> None:
    one, two, three = (
        Pin(name, check_certificate_untrusted(machine().certificate_pem))
        for name in ("one", "two", "three")
    )
    key = {pin.name: pin.certificate.spki_hash for pin in (one, two, three)}
    told: list[Collection[bytes]] = []
    pins = Pins([one, two])
    by_key = pins.by_key
    pins.on_change(told.append)

    pins.replace([one])
    pins.replace([one, three])
    pins.replace([Pin("else", one.certificate), three], ended=[key["three"]])

    assert [set(gone) for gone in told] == [{key["two"]}, set(), {key["one"], key["three"]}]
    assert by_key is pins.by_key
    assert by_key.keys() == {key["one"], key["three"]}
