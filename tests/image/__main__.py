"""`python -m tests.image`: the Dockerfile's steps in a bare Debian, then its server tried.

For machines without a container engine. Needs root, debootstrap and 15 GB; takes minutes. The
image is built and run as it would be: another user, a read-only root, a fresh /tmp; without a GPU
the CUDA one's server runs on the processor.
"""

import argparse
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from clients.client import EgoPackClient
from tests.image.dockerfile import Builder, Image, chroot, inside, parse

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "clients" / "sample" / "clip.mp4"
HOST_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")
RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
PORT = 18080
NVIDIA = Path("/dev/nvidiactl")


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__)
    parser.add_argument("--target", default="cpu", help="stage to build; default: %(default)s")
    parser.add_argument(
        "--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as docker takes it"
    )
    parser.add_argument("--debian", type=Path, help="a bare Debian with python3-venv that is there")
    parser.add_argument("--work", type=Path, help="folder to work in; default: a temporary one")
    parser.add_argument("--no-run", action="store_true", help="build only")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if os.geteuid() != 0:
        print("python -m tests.image: must be root, to change roots", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        work = Path(folder)
        debian = work / "debian"
        if arguments.debian is None:
            packages = f"--include={PACKAGES}"
            command = ["debootstrap", "--variant=minbase", packages, RELEASE, str(debian)]
            subprocess.run(command, check=True)
        else:
            subprocess.run(["cp", "-a", str(arguments.debian), str(debian)], check=True)
        for name in HOST_FILES:
            shutil.copy(name, debian / name.lstrip("/"))
        stages = parse((ROOT / "Dockerfile").read_text())
        given = dict(pair.split("=", 1) for pair in arguments.build_arg)
        image = Builder(stages, ROOT, debian, work, given).build(arguments.target)
        return 0 if arguments.no_run else _try(image)


def _try(image: Image) -> int:
    """Starts the image's command as an engine would, asks it, stops it."""
    mounts = (
        f"mount --bind {image.root} {image.root} && mount -o remount,bind,ro {image.root} && "
        f"mount -t proc proc {image.root}/proc && mount --rbind /dev {image.root}/dev && "
        f"mount -t tmpfs tmpfs {image.root}/tmp && chmod 1777 {image.root}/tmp && "
        f"mount -t tmpfs -o uid={image.user} tmpfs {image.root}/var/lib/egopack && "
        'exec "$@"'
    )
    extra = {"EGOPACK_API_KEY": "a-key", "EGOPACK_PORT": str(PORT), "EGOPACK_HOST": "127.0.0.1"}
    if not NVIDIA.exists():
        extra["EGOPACK_DEVICE"] = "cpu"  # the packages for a GPU still have to load and answer
    command = [*chroot(image, extra), *image.command]
    server = subprocess.Popen(["unshare", "--mount", "sh", "-c", mounts, "sh", *command])
    try:
        with EgoPackClient(f"http://127.0.0.1:{PORT}", api_key="a-key") as client:
            client.wait_ready(120)
            answer = client.predict(SAMPLE)
        health = [word.replace(":8080", f":{PORT}") for word in image.health]
        is_alive = inside(image, health).returncode == 0
        refused = httpx.post(f"http://127.0.0.1:{PORT}/v1/predictions").status_code
        users = subprocess.check_output(["ps", "-o", "user=", "-p", str(server.pid)], text=True)
        server.send_signal(signal.SIGTERM)
        status = server.wait(60)
    finally:
        server.kill()
    print(f"answered {len(answer.segments)} segments; health check passes: {is_alive}")
    print(f"without a key: {refused}; runs as: {users.strip()}; exit status on SIGTERM: {status}")
    is_well = is_alive and refused == 401 and users.strip() != "root" and status == 0
    return 0 if is_well and answer.segments else 1


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(
        f"{'as expected' if code == 0 else 'NOT as expected'}, {time.monotonic() - started:.0f} s"
    )
    sys.exit(code)
