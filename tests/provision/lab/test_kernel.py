"""The system-call filter, run by a small interpreter of its program."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.lab.kernel import ARCHITECTURES, SECCOMP_ALLOW, SECCOMP_ERRNO, seccomp_program

X86 = ARCHITECTURES["x86_64"][0]
KEYS, REACH, SOCKET = ARCHITECTURES["x86_64"][1:]
INET, VSOCK = 2, 40


def verdict(program: bytes, *, architecture: int, call: int, argument: int = 0) -> int:
    """Run classic BPF on struct seccomp_data."""
    data = struct.pack("<IIQ6Q", call, architecture, 0, argument, 0, 0, 0, 0, 0)
    lines = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator = at = 0
    while True:
        code, yes, no, number = lines[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, number)
        elif code == 0x15:
            at += yes if accumulator == number else no
        elif code == 0x35:
            at += yes if accumulator >= number else no
        else:
            assert code == 0x06
            return int(number)


@pytest.mark.parametrize("call", KEYS)
def test_kernel_keys_are_as_if_the_kernel_had_none(call: int) -> None:
    assert verdict(seccomp_program("x86_64"), architecture=X86, call=call) == SECCOMP_ERRNO | errno.ENOSYS


@pytest.mark.parametrize("call", REACH)
def test_what_reaches_the_machine_is_forbidden(call: int) -> None:
    assert verdict(seccomp_program("x86_64"), architecture=X86, call=call) == SECCOMP_ERRNO | errno.EPERM


def test_sockets_to_the_hypervisor_are_refused_and_others_not() -> None:
    program = seccomp_program("x86_64")
    refused = verdict(program, architecture=X86, call=SOCKET, argument=VSOCK)
    assert refused == SECCOMP_ERRNO | errno.EAFNOSUPPORT
    assert verdict(program, architecture=X86, call=SOCKET, argument=INET) == SECCOMP_ALLOW


@given(call=st.integers(min_value=0, max_value=2**30 - 1), argument=st.integers(min_value=0, max_value=2**32 - 1))
def test_every_other_call_passes(call: int, argument: int) -> None:
    if call not in (*KEYS, *REACH, SOCKET):
        assert verdict(seccomp_program("x86_64"), architecture=X86, call=call, argument=argument) == SECCOMP_ALLOW


@given(call=st.integers(min_value=0, max_value=2**32 - 1))
def test_no_other_numbering_gets_around_it(call: int) -> None:
    program = seccomp_program("x86_64")
    assert verdict(program, architecture=0x40000003, call=call) == SECCOMP_ERRNO | errno.ENOSYS
    assert verdict(program, architecture=X86, call=call | 0x40000000) == SECCOMP_ERRNO | errno.ENOSYS


def test_an_unknown_machine_gets_no_filter_by_guess() -> None:
    with pytest.raises(OSError, match="no system-call filter for mips"):
        seccomp_program("mips")
