import os

import pytest

from tests.extract.sandbox.attempts import READING, attempt, succeeded

READING_ANY_FILE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("confined")


@pytest.fixture(scope="module")
def confined(folder):
    return attempt(folder, "all")


def test_a_confined_process_may_read_and_compute_and_nothing_else(confined, folder):
    if not confined["measures"]["seccomp"]:
        pytest.skip("the kernel has no filter for system calls")
    assert succeeded(confined) == READING
    assert os.listdir(folder) == ["file"]
    assert (folder / "file").read_text() == "kept"


def test_what_is_claimed_of_network_user_and_capabilities_is_so(confined):
    measures, status = confined["measures"], confined["status"]
    assert bool(measures["own_network"]) == confined["moved"]
    assert measures["no_new_privileges"] == int(status["NoNewPrivs"])
    if os.getuid() == 0:
        assert bool(measures["own_user"]) == (set(status["Uid"].split()) == {"65534"})
    else:
        assert not measures["own_user"]
    powers = int(status["CapEff"], 16) | int(status["CapPrm"], 16)
    assert powers & ~(READING_ANY_FILE if os.getuid() == 0 else 0) == 0
    assert powers.bit_count() <= 1
