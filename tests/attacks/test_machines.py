"""Certificates that were renewed, minted or dressed up: who gets through the handshake.

A pairing pins one key, and a key has one certificate for ever. These machines hold the right key or
the right friends, and show something else. (What cannot be *paired* at all is in
tests/unit/transport/test_certificate.py; resumption and one member answering as another are in
test_handshake.py there.)
"""

from __future__ import annotations

from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from psp.errors import NotPaired
from psp.transport import MachineKey, Refused
from tests.unit.transport.conftest import machine, meet


@pytest.fixture(autouse=True)
def _short_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    # The refused side here listens on after its refusal, and would be waited for.
    monkeypatch.setattr("psp.transport._handshake.REFUSAL_DRAIN_S", 0.01)


def subject_of(key: MachineKey) -> x509.Name:
    return x509.load_pem_x509_certificate(key.certificate_pem.encode()).subject


def dressed(
    key: MachineKey,
    *,
    ca: bool = False,
    until: datetime = datetime(9999, 12, 31, 23, 59, 59),
    serial: int = 7,
    name: x509.Name | None = None,
    issued_by: MachineKey | None = None,
) -> MachineKey:
    """The same private key behind another certificate."""
    issuer = issued_by or key
    usage = x509.KeyUsage(True, False, False, False, False, ca, False, False, False)
    made = (
        x509.CertificateBuilder()
        .issuer_name(subject_of(issuer) if issued_by or name is None else name)
        .subject_name(name or subject_of(key))
        .public_key(key.private.public_key())
        .serial_number(serial)
        .not_valid_before(datetime(1970, 1, 1))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(usage, critical=True)
        .sign(issuer.private, algorithm=None)
    )
    other = MachineKey(key.private)
    other.certificate_pem = made.public_bytes(Encoding.PEM).decode()
    return other


def other_name() -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "renewed")])


RENEWED = {
    "another serial number": dict(serial=8),
    "another name": dict(name=other_name()),
    "a date at which it ends": dict(until=datetime(2999, 1, 1)),
    "CA:TRUE": dict(ca=True),
    "CA:TRUE and another name": dict(ca=True, name=other_name()),
}


@pytest.mark.parametrize("how", RENEWED)
async def test_a_renewed_certificate_of_a_paired_key_is_refused_by_the_listener(how: str) -> None:
    """The remedy is none: a key makes the same certificate again, and that one gets in."""
    dialling, listening = machine(), machine()
    renewed = dressed(dialling, **RENEWED[how])  # type: ignore[arg-type]
    meeting = await meet(renewed, listening, pinned=[dialling])
    assert isinstance(meeting.accepted, Refused)
    meeting.close()

    again = await meet(MachineKey(dialling.private), listening, pinned=[dialling])
    assert isinstance(again.accepted, tuple)
    again.close()


@pytest.mark.parametrize("how", RENEWED)
async def test_a_renewed_certificate_of_a_paired_key_is_refused_by_the_dialler(how: str) -> None:
    dialling, listening = machine(), machine()
    renewed = dressed(listening, **RENEWED[how])  # type: ignore[arg-type]

    meeting = await meet(dialling, renewed, pinned=[dialling], expected=listening)

    assert isinstance(meeting.dialled, NotPaired)
    meeting.close()


async def test_a_machine_with_a_new_key_is_a_stranger_until_it_is_paired_again() -> None:
    dialling, listening = machine(), machine()
    new = machine()
    refused = await meet(new, listening, pinned=[dialling])
    assert isinstance(refused.accepted, Refused)
    refused.close()

    paired = await meet(new, listening, pinned=[dialling, new])
    assert isinstance(paired.accepted, tuple)
    paired.close()


@pytest.mark.parametrize("ca", [False, True])
async def test_a_machine_minted_by_a_paired_one_is_refused(ca: bool) -> None:
    """Even where the paired machine shows itself as an authority beside the minted one."""
    paired, listening = machine(), machine()
    minted = dressed(machine(), name=other_name(), issued_by=paired)
    minted.certificate_pem += dressed(paired, ca=ca).certificate_pem

    meeting = await meet(minted, listening, pinned=[paired])

    assert isinstance(meeting.accepted, Refused)
    meeting.close()


async def test_a_certificate_without_its_key_is_worth_nothing() -> None:
    """The certificate of a paired machine is public: only its key opens the door."""
    paired, listening = machine(), machine()
    thief = MachineKey(Ed25519PrivateKey.generate())
    thief.certificate_pem = dressed(thief, name=subject_of(paired)).certificate_pem

    meeting = await meet(thief, listening, pinned=[paired])

    assert isinstance(meeting.accepted, Refused)
    meeting.close()
