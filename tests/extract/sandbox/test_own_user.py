import os
import subprocess
import sys

import pytest

from extract.sandbox.own_user import can_become_nobody

CHANGES = """
import os, sys
from extract.sandbox.own_user import become_nobody, can_become_nobody, drop_capabilities

private, server = sys.argv[1], os.getppid()
assert can_become_nobody()
assert become_nobody()
assert drop_capabilities(keeps_reading=True)
assert os.getresuid() == os.getresgid() == (65534,) * 3
assert os.getgroups() == []
with open(private) as lines:
    assert lines.read() == "a clip"
refused = 0
for attempt in (
    lambda: os.kill(server, 0),
    lambda: os.chmod(private, 0o666),
    lambda: os.chown(private, 65534, 65534),
    lambda: open(private, "a"),
    lambda: os.unlink(private),
    lambda: os.setuid(0),
):
    try:
        attempt()
    except PermissionError:
        refused += 1
print(refused)
"""


@pytest.mark.skipif(not can_become_nobody(), reason="only root may change its user")
def test_nobody_reads_what_root_may_read_and_harms_nothing_of_it(tmp_path):
    (tmp_path / "private").write_text("a clip")
    (tmp_path / "private").chmod(0o600)
    tmp_path.chmod(0o700)
    command = [sys.executable, "-c", CHANGES, str(tmp_path / "private")]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, env=paths, capture_output=True, text=True)
    assert (ended.stdout.strip(), ended.stderr) == ("6", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_a_user_who_is_not_root_stays_who_it_is():
    assert not can_become_nobody()
