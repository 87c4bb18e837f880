from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.buffers import Account, Buffers, ResultBuffer, process_account
from psp.errors import ConnectionLost, LimitExceeded, LocalProtocolError

MIB = 1024 * 1024


def filled(buffer: ResultBuffer, data: bytes) -> ResultBuffer:
    room = buffer.room()
    room[: len(data)] = data
    room.release()
    buffer.advance(len(data))
    buffer.finish()
    return buffer


def tenant(limit: int = 64 * MIB) -> Account:
    return Account("process", limit).tenant("t", limit)


def test_a_lease_shows_what_has_come_and_no_byte_more() -> None:
    buffer = filled(Buffers(tenant()).share("c").take(100), b"result")
    with buffer.lease() as lease:
        assert bytes(lease.view) == b"result"
        assert lease.view.readonly


def test_a_view_used_after_its_release_is_an_error() -> None:
    lease = filled(Buffers(tenant()).share("c").take(10), b"result").lease()
    view = lease.view
    lease.release()
    lease.release()
    with pytest.raises(LocalProtocolError, match="its lease is over"):
        lease.view
    with pytest.raises(ValueError, match="released memoryview"):
        view[0]


def test_a_result_is_read_only_when_it_is_complete_and_not_released() -> None:
    buffer = Buffers(tenant()).share("c").take(10)
    with pytest.raises(LocalProtocolError, match="not complete"):
        buffer.lease()
    filled(buffer, b"x")
    with pytest.raises(LocalProtocolError, match="finished or released"):
        buffer.room()
    buffer.release()
    with pytest.raises(LocalProtocolError, match="is released"):
        buffer.lease()


def test_memory_that_a_slice_still_shows_is_not_used_again() -> None:
    buffers = Buffers(tenant())
    first = filled(buffers.share("c").take(MIB), b"first")
    lease = first.lease()
    piece = lease.view[:5]
    lease.release()
    first.release()
    assert buffers.idle_bytes == 0
    filled(buffers.share("c").take(MIB), b"other")
    assert bytes(piece) == b"first"
    del piece
    assert buffers.idle_bytes > 0


def test_a_used_mapping_is_taken_before_a_new_one() -> None:
    buffers = Buffers(tenant())
    share = buffers.share("c")
    buffer = filled(share.take(MIB), b"first")
    buffer.release()
    assert buffers.idle_bytes == MIB
    again = share.take(MIB)
    assert buffers.idle_bytes == 0
    # The very same memory: only a new result's own bytes are ever shown of it.
    assert bytes(again.room()[:5]) == b"first"
    assert again.filled_bytes == 0


@pytest.mark.parametrize("level", ["connection", "tenant", "process"])
def test_each_level_refuses_what_is_above_its_own_limit(level: str) -> None:
    limits = {"connection": 64 * MIB, "tenant": 64 * MIB, "process": 64 * MIB, level: 2 * MIB}
    process = Account("process", limits["process"])
    account = process.tenant("t", limits["tenant"])
    buffers = Buffers(account)
    share = buffers.share("c")
    share.account.limit_bytes = limits["connection"]
    held = [share.take(MIB), share.take(MIB)]
    with pytest.raises(LimitExceeded, match=rf"the {level}.* holds 2097152 of the 2097152"):
        share.take(1)
    assert share.account.held_bytes == account.held_bytes == process.held_bytes == 2 * MIB
    held.clear()
    share.take(MIB)


def test_what_waits_to_be_used_again_stands_in_nobodys_way() -> None:
    process = Account("process", 4 * MIB)
    one, other = Buffers(process.tenant("one")), Buffers(process.tenant("other"))
    filled(one.share("c").take(3 * MIB), b"x").release()
    assert one.idle_bytes == 3 * MIB
    other.share("c").take(4 * MIB)
    assert one.idle_bytes == 0


def test_a_used_mapping_never_goes_to_another_tenant() -> None:
    process = Account("process", 64 * MIB)
    one, other = Buffers(process.tenant("one")), Buffers(process.tenant("other"))
    filled(one.share("c").take(MIB), b"secret").release()
    assert one.idle_bytes == MIB
    assert bytes(other.share("c").take(MIB).room()[:6]) == bytes(6)


def test_the_end_of_a_connection_releases_what_is_not_complete() -> None:
    process = Account("process", 64 * MIB)
    buffers = Buffers(process.tenant("t"))
    share = buffers.share("c")
    whole, half = filled(share.take(MIB), b"whole"), share.take(MIB)
    share.end()
    assert half.is_released
    assert bytes(whole.lease().view) == b"whole"
    with pytest.raises(ConnectionLost):
        share.take(1)
    whole.release()
    gc.collect()
    buffers.trim()
    assert process.held_bytes == 0


def test_a_large_result_lies_on_the_chosen_disk_without_a_name(tmp_path: Path) -> None:
    buffers = Buffers(tenant(), spool=tmp_path, memory_bytes_max=MIB)
    buffer = filled(buffers.share("c").take(2 * MIB), b"large")
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    assert list(tmp_path.iterdir()) == []
    assert bytes(buffer.lease().view) == b"large"
    buffer.release()
    assert buffers.idle_bytes == 0
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_a_large_result_without_a_disk_is_refused() -> None:
    account = tenant()
    with pytest.raises(LimitExceeded, match="Choose a spool directory"):
        Buffers(account, memory_bytes_max=MIB).share("c").take(2 * MIB)
    assert account.held_bytes == 0


def test_a_disk_without_room_refuses_before_a_byte_is_written(tmp_path: Path) -> None:
    account = Account("process", 1 << 62).tenant("t", 1 << 62)
    share = Buffers(account, spool=tmp_path).share("c")
    share.account.limit_bytes = 1 << 62
    with pytest.raises(LimitExceeded, match="no room for it"):
        share.take(1 << 60)
    assert account.held_bytes == 0


def test_pools_that_are_dropped_leave_nothing_on_an_account() -> None:
    process = Account("process", 64 * MIB)
    buffers = Buffers(process.tenant("t"))
    filled(buffers.share("c").take(MIB), b"x").release()
    assert buffers.idle_bytes == MIB
    del buffers
    gc.collect()
    Buffers(process_account()).trim()
    assert process.held_bytes == 0


@pytest.mark.slow
def test_nothing_is_left_of_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from psp.buffers import Account, Buffers\n"
        "share = Buffers(Account('p', 1 << 30).tenant('t'), spool=Path(sys.argv[1]),"
        " memory_bytes_max=1 << 20).share('c')\n"
        "held = [share.take(1 << 20), share.take(1 << 22)]\n"
        "held[1].room()[:] = bytes(1 << 22)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_finalizer_runs_in_the_middle_of_a_take_without_a_deadlock() -> None:
    """Garbage is collected at any moment: also while the lock of the pools is held."""
    buffers = Buffers(tenant())
    share = buffers.share("c")
    done: list[Callable[[], int]] = []
    for _ in range(50):
        loop: list[object] = [filled(share.take(MIB), b"x")]
        loop.append(loop)
        del loop
    done.append(lambda: gc.collect())
    done[0]()
    buffers.trim()
    assert share.account.held_bytes == 0
