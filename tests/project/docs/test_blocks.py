"""Every block of the documents that a reader would run is run here, or says why it is not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from clients.local import LocalServer, check_stopped
from tests.project.docs.blocks import Block
from tests.project.docs.pages import BLOCKS, PAGES, READ, ROOT, RUN, name_of

SHOWN = "127.0.0.1:8080"
"""Where the documents say that a server listens."""

BLOCK_S = 300
"""How long one may take on a busy machine."""


def runnable(page: Path, *, slow: bool = False) -> list[Block]:
    """The blocks of a page that are run, in order, and the files that they need."""
    marks = ("", "slow") if slow else ("",)
    own = [block for block in BLOCKS if block.path == page]
    return [b for b in own if b.mark == "file" or (b.language in RUN and b.mark in marks)]


def pages_that_run(*, slow: bool) -> list[Path]:
    """The pages of which something is run; slowly, those with a slow block."""
    wanted = "slow" if slow else ""
    return [
        page
        for page in PAGES
        if any(b.mark == wanted and b.language in RUN for b in runnable(page, slow=slow))
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LocalServer("--state-dir", str(tmp_path_factory.mktemp("state"))) as running:
        yield running
    check_stopped(running)


@pytest.fixture
def checkout(tmp_path):
    """A folder like a fresh clone with its environment made; what is written stays in it."""
    for entry in ROOT.iterdir():
        if entry.name not in ("work", ".git", ".venv"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def carry_out(block, checkout, url):
    """Runs a block as a reader would; what it prints must be what the page shows."""
    address = url.removeprefix("http://")
    words = [sys.executable, "-c", block.text]
    if block.language != "python":
        words = ["bash", "-euo", "pipefail", "-c", block.script]
    ran = subprocess.run(
        [word.replace(SHOWN, address) for word in words],
        cwd=checkout,
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(checkout),
            "EGOPACK_URL": url,
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=BLOCK_S,
    )
    assert ran.returncode == 0, f"{block}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    if block.output:
        pattern = r".*?".join(re.escape(part) for part in block.output.strip().split("..."))
        said = ran.stdout.replace(address, SHOWN).strip()
        assert re.fullmatch(pattern, said, re.DOTALL), f"{block} shows another output than\n{said}"


def carry_out_all(blocks, checkout, url):
    for block in blocks:
        if block.mark == "file":
            (checkout / block.says).write_text(block.text + "\n")
        else:
            carry_out(block, checkout, url)


@pytest.mark.service
@pytest.mark.parametrize("page", pages_that_run(slow=False), ids=name_of)
def test_what_a_page_tells_a_reader_to_run_runs(page, checkout, server):
    carry_out_all(runnable(page), checkout, server.url)


@pytest.mark.slow(40)
@pytest.mark.service
@pytest.mark.parametrize("page", pages_that_run(slow=True), ids=name_of)
def test_a_page_runs_with_all_that_takes_longer(page, checkout, server):
    carry_out_all(runnable(page, slow=True), checkout, server.url)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_says_what_it_is_and_hides_no_command(block):
    assert block.language in (*RUN, *READ), f"{block}: {block.language or 'no'} language"
    if block.language == "console":
        assert block.script, f"{block}: a transcript in which nobody types; prompts are '$ '"
    elif block.language in READ:
        assert not re.search(r"^\$ |^(curl|docker|make|pip) ", block.text, re.MULTILINE), block
