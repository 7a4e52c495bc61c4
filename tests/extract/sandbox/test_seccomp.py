import pytest

from extract.sandbox.seccomp import filter_program
from tests.extract.sandbox.attempts import READING, attempt, succeeded


def test_the_filter_alone_refuses_all_that_decoding_does_not_need(tmp_path):
    """Also of root, whom permissions do not stop: there is no Landlock and no other user here."""
    outcome = attempt(tmp_path, "seccomp")
    if not outcome["measures"]["seccomp"]:
        pytest.skip("the kernel has no filter for system calls")
    assert succeeded(outcome) == READING


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_jump_of_the_filter_lands_inside_it(machine):
    program = filter_program(machine, 7)
    assert len(program) <= 4096
    for index, (code, if_true, if_false, constant) in enumerate(program):
        assert 0 <= constant < 2**32
        assert max(if_true, if_false) < 256
        if code & 0x07 == 0x05:  # a jump
            assert index + 1 + max(if_true, if_false) < len(program)
    assert program[-1][0] == 0x06  # ends with a return


def test_a_machine_whose_calls_are_unknown_gets_no_filter():
    assert filter_program("riscv64", 7) is None


def run(program, number, *arguments, architecture=0xC000003E):
    """What the kernel would do with a system call: a small interpreter of classic BPF."""
    words = {0: number, 4: architecture}
    for index, argument in enumerate(arguments):
        words[16 + 8 * index] = argument & 0xFFFFFFFF
        words[20 + 8 * index] = argument >> 32
    at, value = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == 0x20:
            value = words.get(constant, 0)
        elif code == 0x06:
            return constant
        else:
            jumps = {0x15: value == constant, 0x35: value >= constant, 0x45: value & constant}
            at += if_true if jumps[code] else if_false


ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026


@pytest.mark.parametrize(
    ("number", "arguments", "expected"),
    [
        (0, (3,), ALLOW),  # read
        (56, (0x3D0F00,), ALLOW),  # clone of a thread
        (56, (17,), EPERM),  # clone of a process
        (435, (), ENOSYS),  # clone3: the library falls back on clone
        (62, (7, 9), ALLOW),  # kill itself
        (62, (8, 9), EPERM),
        (62, (0xFFFFFFFF, 9), EPERM),  # all
        (302, (0, 7, 0), ALLOW),  # prlimit64 that only reads
        (302, (0, 7, 0x7FFF00000000), EPERM),  # the low half of the pointer is 0
        (302, (0, 7, 8), EPERM),
        (257, (-100 & 2**64 - 1, 1, 0o2000000), ALLOW),  # openat, O_RDONLY | O_CLOEXEC
        (257, (-100 & 2**64 - 1, 1, 0o1), EPERM),
        (257, (-100 & 2**64 - 1, 1, 0o1000), EPERM),  # O_TRUNC
        (0x40000000, (), EPERM),  # the x32 numbers
    ],
)
def test_a_call_is_judged_by_its_arguments(number, arguments, expected):
    assert run(filter_program("x86_64", 7), number, *arguments) == expected


def test_a_driver_may_open_devices_and_no_more():
    program = filter_program("x86_64", 7, opens_for_writing=True)
    assert run(program, 257, 1, 1, 0o2) == ALLOW
    assert [run(program, number) for number in (90, 87, 41)] == [EPERM] * 3


def test_calls_of_another_architecture_are_refused():
    assert run(filter_program("x86_64", 7), 0, architecture=0x40000003) == EPERM
