import os
import subprocess
import sys

CONFINED = """
import os, socket, sys
from extract.decode.clip import Limits
from extract.sandbox.confine import confine

home = os.readlink("/proc/self/ns/net")
measures = confine(Limits())
print(measures["own_network"], os.readlink("/proc/self/ns/net") != home)
print(measures["no_network"], measures["no_writing"])
with open("/proc/self/status") as lines:
    print(next(line.split()[1].strip("0") for line in lines if line.startswith("CapEff")) or "none")
for attempt in (socket.socket, lambda: open(sys.argv[1], "w"), lambda: os.mkdir(sys.argv[1])):
    try:
        attempt()
        print("done")
    except PermissionError:
        print("refused")
"""


def test_a_confined_process_has_no_network_no_powers_and_writes_nothing(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", CONFINED, str(tmp_path / "new")],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    network, measures, powers, *attempts = ended.stdout.splitlines()
    has_network, has_moved = network.split()
    assert has_network == has_moved  # what it claims is so, whether the machine allows it or not
    if has_network == "True":
        assert powers == "none"
    has_filter, has_landlock = measures.split()
    assert (attempts[0] == "refused") == (has_filter == "True")
    if has_landlock == "True":
        assert attempts[1:] == ["refused", "refused"]
        assert list(tmp_path.iterdir()) == []
