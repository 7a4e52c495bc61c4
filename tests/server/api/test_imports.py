"""What a server's process imports."""

import subprocess
import sys

import pytest

START = """
import sys
import server.api.serve
from model.predict.predictor import Predictor
from weights import SHIPPED_BUNDLE
Predictor.from_bundle(SHIPPED_BUNDLE)
print(*sys.modules)
import torch
print(torch._dynamo.utils.is_compile_supported("cpu"))
"""


@pytest.mark.slow(5)
def test_a_server_starts_without_what_it_never_calls():
    """They take longer to import than torch; a call of what stands for them still finds them."""
    ran = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    modules, supported = ran.stdout.splitlines()
    never_called = {"torch._dynamo", "sympy", "pandas", "torch_geometric.datasets"}
    assert not never_called & set(modules.split())
    assert supported in ("True", "False")
