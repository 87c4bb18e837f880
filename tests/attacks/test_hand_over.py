"""Files passed on one machine: what a subject may not do with them, and what happens instead."""

from __future__ import annotations

import array
import fcntl
import gc
import os
import secrets
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.buffers import Account, Buffers, SealedFile
from psp.endpoint import (
    Address,
    Connection,
    Exposed,
    Stream,
    connect,
    handed_over,
    land,
    method,
    serve,
)
from psp.errors import LimitExceeded, LocalRefused
from psp.transport import (
    HandOver,
    MachineKey,
    Peer,
    Pin,
    check_certificate_untrusted,
    runtime_directory,
    take_untrusted,
)
from psp.transport._limits import HAND_OVERS_MAX
from psp.transport._same_host import socket_path

AGGREGATOR = MachineKey(Ed25519PrivateKey.generate())
TOTEBOX = MachineKey(Ed25519PrivateKey.generate())
ARCHIVE_ID = bytes(range(32))
MIB = 1024 * 1024
DATA = secrets.token_bytes(3 * MIB + 17)
WRITE, SHRINK, GROW = fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW
ACCOUNT = Account("archive", 64 * MIB)
FUTURE_WRITE = 0x10  # Python 3.11 has no name for it.


class Desk(Exposed):
    def __init__(self, hand_over: HandOver) -> None:
        self.hand_over = hand_over
        self.file: SealedFile | None = None

    @method
    def data(self, is_allowed: bool) -> Stream:
        self.file = SealedFile([DATA[:100], memoryview(DATA)[100:]], ACCOUNT)
        return handed_over(self.hand_over if is_allowed else None, self.file)


@pytest.fixture
def directory(short_path: Path) -> Path:
    made = short_path / "run"
    made.mkdir(mode=0o700)
    return made


@asynccontextmanager
async def connected(directory: Path) -> AsyncIterator[tuple[Desk, Connection]]:
    desk = Desk(HandOver(directory, ARCHIVE_ID))

    def present(_peer: Peer, _token: bytes) -> Exposed:
        return desk

    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            partial(
                serve,
                key=TOTEBOX,
                archive_id=ARCHIVE_ID,
                pins=[Pin("a", check_certificate_untrusted(AGGREGATOR.certificate_pem))],
                bootstrap=lambda _peer: desk,
                present=present,
                host="127.0.0.1",
                port=0,
                log=list[str]().append,
            )
        )
        address = Address(ARCHIVE_ID, host, port, TOTEBOX.certificate_pem, "98004")
        async with connect(address, key=AGGREGATOR, runtime=directory) as connection:
            yield desk, connection
        nursery.cancel_scope.cancel()


async def test_a_result_is_handed_over_and_not_sent(directory: Path) -> None:
    account = Account("process", 64 * MIB)
    buffers = Buffers(account.tenant("t"))
    async with connected(directory) as (desk, connection), trio.open_nursery() as nursery:
        await nursery.start(desk.hand_over.run)
        answer = connection.bootstrap.call("data", True, accept_bytes=1000)
        landed = await land(answer, buffers, bytes_max=8 * MIB)
        with landed.buffer.lease() as lease:
            assert lease.view == DATA
            assert lease.view.readonly
        assert (connection.inspect().handed_over, connection.inspect().local) == (1, "")
        assert connection.statistics().received_bytes < 5_000
        while desk.hand_over.offered or (desk.file and desk.file.descriptor != -1):
            await connection.ping()  # Its handler ends a moment after FINISH.
        nursery.cancel_scope.cancel()
    assert account.held_bytes >= len(DATA)
    landed.buffer.release()
    del lease, landed
    gc.collect()
    buffers.trim()
    assert account.held_bytes == 0
    assert list(directory.iterdir()) == []


async def test_a_grant_that_does_not_allow_it_gets_no_token(directory: Path) -> None:
    async with connected(directory) as (desk, connection), trio.open_nursery() as nursery:
        await nursery.start(desk.hand_over.run)
        answer = connection.bootstrap.call("data", False)
        buffers = Buffers(Account("process", 64 * MIB).tenant("t"))
        landed = await land(answer, buffers, bytes_max=8 * MIB)
        assert landed.header == {"bytes": len(DATA)}
        assert landed.buffer.lease().view == DATA
        nursery.cancel_scope.cancel()


async def test_where_nobody_listens_it_comes_over_tls_and_the_reason_is_told(
    directory: Path,
) -> None:
    async with connected(directory) as (_, connection):
        answer = connection.bootstrap.call("data", True)
        buffers = Buffers(Account("process", 64 * MIB).tenant("t"))
        landed = await land(answer, buffers, bytes_max=8 * MIB)
        assert landed.buffer.lease().view == DATA
        assert "FileNotFoundError" in connection.inspect().local


async def test_what_is_sent_after_all_does_not_wait_for_credit_byte_by_byte(
    directory: Path,
) -> None:
    async with connected(directory) as (_, connection):
        before = connection.statistics().sends
        answer = connection.bootstrap.call("data", True, accept_bytes=1_000)
        buffers = Buffers(Account("process", 64 * MIB).tenant("t"))
        landed = await land(answer, buffers, bytes_max=8 * MIB)
        assert landed.buffer.lease().view == DATA
        assert connection.inspect().handed_over == 0
        assert connection.statistics().sends - before < 20


def memory_file(data: bytes, seals: int) -> int:
    fd = os.memfd_create("liar", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    read_only = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    os.close(fd)
    return read_only


def writable(_directory: Path) -> list[int]:
    fd = os.memfd_create("liar", os.MFD_ALLOW_SEALING)
    os.write(fd, DATA)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, WRITE | SHRINK | GROW)
    return [fd]


def on_disk(directory: Path) -> list[int]:
    file = directory / "file"
    file.write_bytes(DATA)
    return [os.open(file, os.O_RDONLY)]


def sealed(seals: int, data: bytes = DATA) -> Callable[[Path], list[int]]:
    return lambda _directory: [memory_file(data, seals)]


LIES: dict[str, tuple[Callable[[Path], list[int]], str]] = {
    "no write seal": (sealed(SHRINK | GROW), "a seal is missing"),
    "no shrink seal": (sealed(WRITE | GROW), "a seal is missing"),
    "no grow seal": (sealed(WRITE | SHRINK), "a seal is missing"),
    "future writes alone": (sealed(FUTURE_WRITE | SHRINK | GROW), "a seal is missing"),
    "shorter": (sealed(WRITE | SHRINK | GROW, DATA[:-1]), "bytes, and"),
    "longer": (sealed(WRITE | SHRINK | GROW, DATA + b"x"), "bytes, and"),
    "empty": (sealed(WRITE | SHRINK | GROW, b""), "bytes, and"),
    "writable": (writable, "open for more than reading"),
    "a file on a disk": (on_disk, "no memory file"),
    "a pipe": (lambda _: [os.pipe()[0]], "no memory file"),
    "none": (lambda _: [], "0 descriptors came"),
    "two": (lambda _: [memory_file(DATA, WRITE | SHRINK | GROW) for _ in "12"], "2 descriptors"),
    "too many": (lambda _: [os.open("/dev/null", os.O_RDONLY) for _ in range(9)], "descriptors"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_file_that_is_not_what_it_must_be_is_not_used(lie: str, directory: Path) -> None:
    passed, says = LIES[lie]
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    async with connected(directory) as (_, connection), trio.open_nursery() as nursery:
        await nursery.start(partial(liar, directory, passed(directory)))
        answer = connection.bootstrap.call("data", True)
        buffers = Buffers(Account("process", 64 * MIB).tenant("t"))
        landed = await land(answer, buffers, bytes_max=8 * MIB)
        assert landed.buffer.lease().view == DATA, "it did not come over TLS"
        assert says in connection.inspect().local
        nursery.cancel_scope.cancel()
    del landed
    gc.collect()
    buffers.trim()
    if lie != "a pipe":  # Of which the test holds the other end.
        assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208


async def liar(
    directory: Path,
    passed: list[int],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers as an archive would, with other descriptors."""
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        await listener.bind(str(socket_path(directory, ARCHIVE_ID)))
        listener.listen(1)
        task_status.started()
        sock, _ = await listener.accept()
        with sock:
            await sock.recv(32)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", passed))]
            await sock.sendmsg([b"\1"], rights if passed else [])
            for each in passed:
                os.close(each)
            await sock.recv(1)


async def test_what_was_passed_cannot_be_truncated_or_rewritten() -> None:
    file = SealedFile([DATA], ACCOUNT)
    with pytest.raises(PermissionError):
        os.ftruncate(os.open(f"/proc/self/fd/{file.descriptor}", os.O_RDWR), 10)
    with pytest.raises(PermissionError):
        os.write(os.open(f"/proc/self/fd/{file.descriptor}", os.O_RDWR), b"x")
    with pytest.raises(OSError, match="not permitted"):
        fcntl.fcntl(file.descriptor, fcntl.F_ADD_SEALS, WRITE)
    assert file.map() == DATA
    file.close()
    file.close()


async def test_an_archive_that_holds_too_much_seals_no_more() -> None:
    account = Account("archive", 5 * MIB)
    file = SealedFile([DATA], account)
    assert account.held_bytes == len(DATA)
    with pytest.raises(LimitExceeded, match="archive holds"):
        SealedFile([DATA[:MIB], DATA[MIB:]], account)
    assert account.held_bytes == len(DATA)
    file.close()
    file.close()
    assert account.held_bytes == 0


def test_the_runtime_directory_is_where_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert runtime_directory() == Path("/run/user/1000/psp")
    for nowhere in ("", "somewhere"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", nowhere)
        assert runtime_directory() is None


def test_a_runtime_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    for _ in range(2):
        HandOver.prepare(tmp_path / "psp")
        assert stat.S_IMODE((tmp_path / "psp").stat().st_mode) == 0o700
    with pytest.raises(LocalRefused, match="cannot be made"):
        HandOver.prepare(tmp_path / "missing" / "psp")


def test_nobody_takes_or_clears_the_place_of_one_who_listens(directory: Path) -> None:
    """A second process of the same archive tries, or what is in another archive's files."""
    path = socket_path(directory, ARCHIVE_ID)
    first, second = HandOver(directory, ARCHIVE_ID), HandOver(directory, ARCHIVE_ID)
    first.listen()
    for _ in range(2 * HAND_OVERS_MAX):  # Also where it is behind with its work.
        with pytest.raises(LocalRefused, match="another process hands over in this archive's pl"):
            second.listen()
    second.clear()
    assert path.is_socket()

    first.close()
    second.listen()
    first.clear()  # By whoever had started it, later.
    assert path.is_socket()
    second.clear()
    assert not path.exists()
    second.close()


async def test_a_directory_that_takes_no_socket_is_told(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir(mode=0o700)
    with pytest.raises(LocalRefused, match="takes no socket"):
        await HandOver(deep, ARCHIVE_ID).run()
    with pytest.raises(LocalRefused):
        await take_untrusted(deep, ARCHIVE_ID, bytes(32))


async def test_a_stream_that_never_begins_takes_its_offer_back(directory: Path) -> None:
    hand_over = HandOver(directory, ARCHIVE_ID)
    account = Account("archive", 64 * MIB)
    stream = handed_over(hand_over, SealedFile([DATA], account))
    assert (hand_over.offered, account.held_bytes) == (1, len(DATA))
    del stream
    assert (hand_over.offered, account.held_bytes) == (0, 0)


async def test_a_peer_that_says_nothing_does_not_keep_others_from_their_results(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psp.transport._same_host.HAND_OVER_S_MAX", 0.05)
    hand_over = HandOver(directory, ARCHIVE_ID)
    file = SealedFile([DATA], ACCOUNT)
    async with trio.open_nursery() as nursery:
        await nursery.start(hand_over.run)
        silent = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        await silent.connect(str(socket_path(directory, ARCHIVE_ID)))
        while True:
            token = hand_over.offer(file)
            assert token is not None
            try:
                os.close(await take_untrusted(directory, ARCHIVE_ID, token))
                break
            except LocalRefused:
                continue  # Its turn has not come yet.
        silent.close()
        nursery.cancel_scope.cancel()
    file.close()


async def test_a_token_is_good_once_and_a_guessed_one_never(directory: Path) -> None:
    hand_over = HandOver(directory, ARCHIVE_ID)
    file = SealedFile([DATA], ACCOUNT)
    async with trio.open_nursery() as nursery:
        await nursery.start(hand_over.run)
        token = hand_over.offer(file)
        assert token is not None
        for guess in (bytes(32), token[:-1] + bytes([token[-1] ^ 1])):
            with pytest.raises(LocalRefused, match="0 descriptors"):
                await take_untrusted(directory, ARCHIVE_ID, guess)
        os.close(await take_untrusted(directory, ARCHIVE_ID, token))
        with pytest.raises(LocalRefused, match="0 descriptors"):
            await take_untrusted(directory, ARCHIVE_ID, token)
        withdrawn = hand_over.offer(file)
        assert withdrawn is not None
        hand_over.withdraw(withdrawn)
        with pytest.raises(LocalRefused, match="0 descriptors"):
            await take_untrusted(directory, ARCHIVE_ID, withdrawn)
        assert stat.S_IMODE(socket_path(directory, ARCHIVE_ID).stat().st_mode) == 0o600
        nursery.cancel_scope.cancel()
    tokens = [hand_over.offer(file) for _ in range(100)]
    assert tokens.count(None) == 100 - hand_over.offered
    assert hand_over.offered == 64
    file.close()


async def test_a_directory_or_socket_of_anybody_else_is_not_used(directory: Path) -> None:
    path = socket_path(directory, ARCHIVE_ID)
    path.write_text("no socket")
    with pytest.raises(LocalRefused, match="no socket of ours"):
        await take_untrusted(directory, ARCHIVE_ID, bytes(32))
    path.unlink()
    directory.chmod(0o722)
    for use in (
        partial(take_untrusted, directory, ARCHIVE_ID, bytes(32)),
        HandOver(directory, ARCHIVE_ID).run,
    ):
        with pytest.raises(LocalRefused, match="others may write there"):
            await use()
    directory.chmod(0o700)
    with pytest.raises(LocalRefused, match="cannot be looked at"):
        await take_untrusted(directory / "other", ARCHIVE_ID, bytes(32))
    link = directory.parent / "link"
    link.symlink_to(directory)
    with pytest.raises(LocalRefused, match="belongs to another"):
        await take_untrusted(link, ARCHIVE_ID, bytes(32))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
async def test_a_socket_of_another_user_is_not_used(directory: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(HandOver(directory, ARCHIVE_ID).run)
        os.chown(socket_path(directory, ARCHIVE_ID), 65534, 65534)
        with pytest.raises(LocalRefused, match="no socket of ours"):
            await take_untrusted(directory, ARCHIVE_ID, bytes(32))
        os.chown(directory, 65534, 65534)
        with pytest.raises(LocalRefused, match="another user"):
            await take_untrusted(directory, ARCHIVE_ID, bytes(32))
        nursery.cancel_scope.cancel()


async def test_a_file_beyond_the_account_is_not_mapped() -> None:
    account = Account("process", MIB)
    share = Buffers(account.tenant("t")).share("c")
    file = SealedFile([DATA], ACCOUNT)
    with pytest.raises(LimitExceeded, match="3145745 bytes were asked"):
        share.adopt_untrusted(file.descriptor, file.size)
    assert account.held_bytes == 0
    file.close()


async def test_a_result_that_was_read_and_released_makes_room_for_the_next() -> None:
    account = Account("process", 4 * MIB)
    share = Buffers(account.tenant("t")).share("c")
    file = SealedFile([DATA], ACCOUNT)
    for _ in range(3):
        with share.adopt_untrusted(file.descriptor, file.size).lease() as lease:
            assert lease.view == DATA
        del lease
    file.close()
