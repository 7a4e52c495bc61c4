"""`python -m extract` in this process."""

import json

from extract.__main__ import main


def run(*arguments):
    return main([str(argument) for argument in arguments])


def summary(capsys, *names):
    found = json.loads(capsys.readouterr().out)
    return {name: found[name] for name in names or ("written", "skipped", "failed")}
