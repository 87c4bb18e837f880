from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.endpoint import Address
from psp.errors import EstateError
from psp.transport import MachineKey

KEY = MachineKey(Ed25519PrivateKey.generate())
ADDRESS = Address(bytes(range(32)), "toteboxes.example", 4270, KEY.certificate_pem, "98004")
TEXT = ADDRESS.to_text()


@pytest.mark.parametrize("host", ["toteboxes.example", "127.0.0.1", "::1", "fe80::1.2.3.4"])
def test_an_address_survives_its_text(host: str) -> None:
    address = replace(ADDRESS, host=host)

    again = Address.from_text_untrusted(
        address.to_text(), certificate_pem=KEY.certificate_pem, name="98004"
    )

    assert again == address


def test_an_address_has_the_form_that_the_protocol_page_shows() -> None:
    prefix = f"psp://{KEY.fingerprint}@toteboxes.example:4270/"

    assert TEXT.startswith(prefix)
    assert len(TEXT) == len(prefix) + 52


def test_an_address_of_another_machine_is_refused() -> None:
    other = MachineKey(Ed25519PrivateKey.generate())

    with pytest.raises(EstateError, match="Pair again"):
        Address.from_text_untrusted(TEXT, certificate_pem=other.certificate_pem, name="98004")


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT + "x",
        TEXT.replace("psp:", "http:"),
        TEXT.replace(":4270", ":0"),
        TEXT.replace(":4270", ":65536"),
        TEXT.replace("example", "exa mple"),
        TEXT.replace("SHA256:", "SHA1:"),
        TEXT + "\n",
        "\x1b[2J" * 1000,
    ],
)
def test_text_that_is_no_address_is_refused_and_shown_harmless(text: str) -> None:
    with pytest.raises(EstateError, match="is not the address of an archive") as caught:
        Address.from_text_untrusted(text, certificate_pem=KEY.certificate_pem, name="98004")

    assert "\x1b" not in str(caught.value)
