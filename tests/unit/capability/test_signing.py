"""A signature of one type is a signature of no other: every type tried as every other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from psp.capability import (
    Ceremony,
    Command,
    Grant,
    Introduction,
    Revokes,
    Role,
    Roots,
    Seen,
    SigningKey,
    Tag,
    archive_id_of,
    sign_anchor,
    sign_clock,
    sign_epoch,
    sign_invocation,
    sign_reassertion,
    sign_revocation,
    sign_rotation,
    sign_transition,
    verify_anchor_untrusted,
    verify_clock_untrusted,
    verify_epoch_untrusted,
    verify_invocation_untrusted,
    verify_reassertion_untrusted,
    verify_revocation_untrusted,
    verify_rotation_untrusted,
    verify_signature,
    verify_transition_untrusted,
)
from psp.errors import CapabilityError

from .actors import NOW, first_token, key, present

# One key in every part at once: root, anchor, holder, machine. Nothing but the tag is then left to
# keep a signature in its place.
KEY = key(40)
NONCE = b"n" * 16
ID = archive_id_of(KEY.public_bytes, NONCE)
ALONE = Roots(frozenset({KEY.public_bytes}))
COMMANDS: list[Command] = [("describe", [])]


class Recorder:
    """The key, which remembers what it signed last, or puts another signature in its place."""

    public_bytes = KEY.public_bytes

    def __init__(self, instead: bytes | None = None) -> None:
        self.signed = b""
        self.instead = instead

    def sign(self, data: bytes) -> bytes:
        self.signed = data
        return self.instead or KEY.sign(data)


def anchor_statement(signer: Recorder) -> bytes:
    return sign_anchor(
        signer,
        anchor_keys=[KEY.public_bytes],
        ledger_key=KEY.public_bytes,
        epoch=3,
        version=1,
        nonce=NONCE,
    )


ANCHOR = verify_anchor_untrusted(anchor_statement(Recorder()), archive_id=ID)


def token(signer: Recorder) -> bytes:
    return first_token(KEY, anchor=ANCHOR, anchor_key=signer)  # type: ignore[arg-type]


GRANT: Grant = present(token(Recorder()), KEY, anchor=ANCHOR)


def met(signer: SigningKey) -> tuple[Ceremony, Ceremony]:
    """A caller and a listener that have revealed; the listener is who signs here."""
    caller, listener = (
        Ceremony(
            role,
            # What stands for a certificate is the bare key.
            Introduction(name="box", certificate=by.public_bytes, archive_id=ID, port=7001),
            nonce=bytes([role.value]) * 32,
            signer=by,
            read_key=lambda der: der,
        )
        for role, by in ((Role.CALLER, key(41)), (Role.LISTENER, signer))
    )
    commit = listener.receive_untrusted(caller.start())
    caller.receive_untrusted(listener.receive_untrusted(caller.receive_untrusted(commit)))
    return caller, listener


def hear(confirmation: bytes) -> bool | None:
    caller, _ = met(KEY)
    caller.receive_untrusted(confirmation)
    return caller.agreed


Make = Callable[[Recorder], bytes]
Check = Callable[[bytes], object]
TYPES: dict[Tag, tuple[Make, Check]] = {
    Tag.GRANT_LINK: (token, lambda it: present(it, KEY, anchor=ANCHOR)),
    Tag.ANCHOR: (anchor_statement, lambda it: verify_anchor_untrusted(it, archive_id=ID)),
    Tag.INVOCATION: (
        lambda by: sign_invocation(
            by,
            archive_id=ID,
            grant_id=GRANT.grant_id,
            commands=COMMANDS,
            nonce=NONCE,
            issued_s=NOW,
            expires_s=NOW + 60,
        ),
        lambda it: verify_invocation_untrusted(
            it, grant=GRANT, archive_id=ID, commands=COMMANDS, now_s=NOW, started_s=0
        ),
    ),
    Tag.KEY_ROTATION: (
        lambda by: sign_rotation([by], archive_id=ID, old=ALONE, keys=ALONE.keys, threshold=1),
        lambda it: verify_rotation_untrusted(it, archive_id=ID, roots=ALONE),
    ),
    Tag.REVOCATION: (
        lambda by: sign_revocation(by, archive_id=ID, what=Revokes.GRANT, target=bytes(32)),
        lambda it: verify_revocation_untrusted(it, anchor=ANCHOR),
    ),
    Tag.EPOCH: (
        lambda by: sign_epoch(by, archive_id=ID, epoch=4),
        lambda it: verify_epoch_untrusted(it, anchor=ANCHOR, epoch=3),
    ),
    Tag.CLOCK: (
        lambda by: sign_clock([by], archive_id=ID, number=1, time_s=NOW),
        lambda it: verify_clock_untrusted(it, anchor=ANCHOR, number=0),
    ),
    Tag.PAIRING: (lambda by: met(by)[1].decide(agreed=True), hear),
    Tag.REASSERTION: (
        lambda by: sign_reassertion(
            [by], archive_id=ID, number=1, audit=Seen(1, bytes(32)), epoch=3
        ),
        lambda it: verify_reassertion_untrusted(it, anchor=ANCHOR, number=0, epoch=3),
    ),
    Tag.TRANSITION: (
        lambda by: sign_transition(by, archive_id=ID, number=1, before="active", after="suspended"),
        lambda it: verify_transition_untrusted(
            it, archive_id=ID, number=0, before="active", allowed={KEY.public_bytes}
        ),
    ),
}
HASHED = {
    *(Tag.ARCHIVE_ID, Tag.CHAIN, Tag.COMMANDS, Tag.GRANT_ID, Tag.TEXT_LINE),
    *(Tag.PAIRING_CODE, Tag.PAIRING_COMMIT, Tag.PAIRING_LINE),
}


def message_of(tag: Tag) -> bytes:
    recorder = Recorder()
    TYPES[tag][0](recorder)
    return recorder.signed


def test_every_type_that_is_signed_is_tried_here() -> None:
    """A tag that is added to the registry must come into this matrix."""
    assert TYPES.keys() == set(Tag) - HASHED
    assert len({tag.value for tag in Tag}) == len(Tag.__members__)
    for tag, (make, check) in TYPES.items():
        assert check(make(Recorder())), f"{tag}: the control"


@pytest.mark.parametrize("offered", TYPES)
@pytest.mark.parametrize("signed", TYPES)
def test_a_valid_statement_of_one_type_is_no_statement_of_another(
    signed: Tag, offered: Tag
) -> None:
    """Attack 5: every statement there is, offered as every other."""
    if signed is offered:
        return
    statement = TYPES[signed][0](Recorder())
    with pytest.raises(CapabilityError):
        TYPES[offered][1](statement)


@pytest.mark.parametrize("offered", TYPES)
@pytest.mark.parametrize("signed", Tag)
def test_a_signature_under_another_tag_does_not_sign_the_same_body(
    signed: Tag, offered: Tag
) -> None:
    """Attack 5: the body is right in every byte, and so is the key: only the tag is another's."""
    make, check = TYPES[offered]
    message = message_of(offered)
    own = len(offered.value).to_bytes(8, "little") + offered.value.encode()
    other = len(signed.value).to_bytes(8, "little") + signed.value.encode()
    assert message[8:].startswith(own)
    retagged = message[:8] + other + message[8 + len(own) :]
    statement = make(Recorder(instead=KEY.sign(retagged)))
    if signed is offered:
        assert check(statement), "the control: the same bytes under its own tag"
    else:
        with pytest.raises(CapabilityError):
            check(statement)


def foreign(message: bytes) -> Iterator[bytes]:
    """What the same key may be asked to sign elsewhere, with our message inside where it fits."""
    digest = hashlib.sha256(message).digest()
    for role in (b"server", b"client"):
        # RFC 8446, section 4.4.3.
        yield b" " * 64 + b"TLS 1.3, " + role + b" CertificateVerify\0" + digest
    certificate = x509.load_pem_x509_certificate(KEY.certificate_pem.encode())
    yield certificate.tbs_certificate_bytes
    yield b"\x30\x82" + len(message).to_bytes(2, "big") + message
    # OpenSSH, PROTOCOL.sshsig: the preamble, then namespace, reserved, hash and digest as strings.
    parts = (b"psp", b"", b"sha512", hashlib.sha512(message).digest())
    yield b"SSHSIG" + b"".join(len(it).to_bytes(4, "big") + it for it in parts)
    yield b"SSHSIG" + message


@pytest.mark.parametrize("offered", TYPES)
def test_what_tls_x509_and_ssh_have_signed_signs_nothing_here(offered: Tag) -> None:
    make, check = TYPES[offered]
    for data in foreign(message_of(offered)):
        assert verify_signature(KEY.public_bytes, data, KEY.sign(data)), "the control"
        with pytest.raises(CapabilityError):
            check(make(Recorder(instead=KEY.sign(data))))


@pytest.mark.parametrize("signed", TYPES)
def test_no_statement_here_can_be_taken_for_theirs(signed: Tag) -> None:
    """By its first bytes: spaces, a DER sequence, and the preamble of SSH."""
    message = message_of(signed)
    assert message[0] < 0x20
    assert not message.startswith((b" ", b"\x30", b"SSHSIG"))


def test_the_certificate_of_a_key_is_signed_by_the_key_as_the_control_says() -> None:
    certificate = x509.load_pem_x509_certificate(KEY.certificate_pem.encode())
    signature, data = certificate.signature, certificate.tbs_certificate_bytes
    assert verify_signature(KEY.public_bytes, data, signature)
    with pytest.raises(InvalidSignature):
        KEY.private.public_key().verify(signature, data + b"\0")
