"""Every command of ours in the documents is one that its real parser accepts."""

import os
import re
import subprocess
from unittest import mock

import pytest

from docsite.commands import COMMANDS, helps, page, parser_of
from tests.project.docs.blocks import calls_in
from tests.project.docs.pages import BLOCKS, IN_NOTEBOOKS, PAGES, ROOT, name_of

CALLS = [
    pytest.param(call, id=f"{block.path.name}:{block.line}-{number}-{call.module}")
    for block in (*BLOCKS, *IN_NOTEBOOKS)
    for number, call in enumerate(calls_in(block.script))
]
OTHERS = ("mkdocs", "pytest", "venv", "pip")
"""Modules of others that the documents run."""

NAMED = re.compile(r"python -m\s+([a-z_][\w.]*\w)")


def refusal(call):
    """Returns what the parser has against a call, or nothing."""
    if call.module in OTHERS:
        return None
    if call.module == "server":
        return refused_setting(call)
    try:
        parser, arguments = parser_of(call.module, call.arguments)
        parser.parse_args(arguments)
    except SystemExit as end:
        return None if end.code in (0, None) else f"exit status {end.code}"
    except LookupError as error:
        return str(error)
    return None


def refused_setting(call):
    from pydantic import ValidationError
    from pydantic_settings import CliApp

    from server.settings.settings import Settings

    arguments = list(call.arguments)
    if "--help" in arguments:
        return None
    # Where a page leaves a value out, as of a key, the reader puts one.
    variables = {name: value.replace("...", "x" * 32) for name, value in call.variables.items()}
    with mock.patch.dict(os.environ, variables):
        try:
            CliApp.run(Settings, cli_args=arguments)
        except (ValidationError, SystemExit) as error:
            return str(error)
    return None


@pytest.mark.parametrize("call", CALLS)
def test_a_command_in_the_documents_is_accepted_by_its_parser(call, capsys):
    assert refusal(call) is None, f"{call}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_command_named_in_passing_is_a_module_that_runs(path):
    known = (
        {first for first, *_ in COMMANDS}
        | set(OTHERS)
        | {"tests.cluster", "tests.ecosystem", "tests.image"}
    )
    assert set(NAMED.findall(path.read_text())) - known == set()


def test_every_command_of_the_project_is_in_the_reference():
    """A module with a parser of its own, found by its text, is one the reference asks."""
    found = set()
    for package in ("weights", "extract", "model", "server", "clients", "bench"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            if '__name__ == "__main__"' in text and "ArgumentParser(" in text:
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found.add(name.removesuffix(".__main__"))
    asked = {first for first, *_ in COMMANDS}
    assert found - asked == set()


def test_helps_say_nothing_of_this_machine():
    text = page()
    assert str(ROOT) not in text
    assert os.path.expanduser("~") not in text
    assert len(dict(helps())) > 15


def test_the_check_refuses_what_a_parser_refuses(capsys):
    for line in ("python -m extract clip.mp4", "python -m server --prot 80", "python -m nobody x"):
        (call,) = calls_in(line)
        assert refusal(call) is not None, line
    (call,) = calls_in("EGOPACK_API_KEY=... .venv/bin/python -m server --host 0.0.0.0 | tee log")
    assert call.variables == {"EGOPACK_API_KEY": "..."}
    assert call.arguments == ("--host", "0.0.0.0")
    assert refusal(call) is None


@pytest.mark.parametrize(
    "target",
    sorted({name for b in BLOCKS for name in re.findall(r"(?m)^make (\S+)", b.script)}),
)
def test_make_knows_the_targets_in_the_documents(target):
    ran = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
