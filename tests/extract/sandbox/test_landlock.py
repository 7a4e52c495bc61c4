import pytest

from extract.sandbox.landlock import rules_for, version
from tests.extract.sandbox.attempts import READING, attempt, succeeded

NAMED = {"write", "append", "update", "make", "make a folder", "remove", "rename", "link"}
DEVICES = {"write to a device", "write to another"}
SINCE = {
    1: NAMED | DEVICES | {"symlink", "fifo"},
    3: {"truncate", "truncate by opening"},
    6: {"signal the server"},
}
"""Attempts that a version of Landlock refuses without any other measure, of root as of others."""


def test_landlock_alone_refuses_all_that_its_version_can(tmp_path):
    found = version()
    if not found:
        pytest.skip("the kernel has no Landlock")
    refused = set().union(*(names for since, names in SINCE.items() if since <= found))
    outcome = attempt(tmp_path, "landlock", [*refused, *READING])
    assert outcome["measures"]["landlock"] == found
    assert succeeded(outcome) == READING


def test_a_device_that_is_named_may_be_written_to_and_nothing_else(tmp_path):
    if not version():
        pytest.skip("the kernel has no Landlock")
    outcome = attempt(tmp_path, "landlock, a device", [*NAMED, *DEVICES, *READING])
    assert succeeded(outcome) == READING | {"write to a device"}


@pytest.mark.parametrize(
    ("version", "words"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3), (99, 3)]
)
def test_a_kernel_is_told_only_what_its_version_knows(version, words):
    assert len(rules_for(version)) == 8 * words
    files = int.from_bytes(rules_for(version)[:8], "little")
    # Neither executing nor reading: loading libraries and clips must stay possible.
    assert files & 0b1101 == 0
    assert [bool(files >> bit & 1) for bit in (1, 12, 13, 14, 15)] == [
        True, True, version >= 2, version >= 3, version >= 5,
    ]  # fmt: skip
