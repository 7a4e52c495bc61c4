import pytest

from extract.runtime import choose as runtime
from extract.runtime.choose import Runtime
from extract.runtime.onnx_export import export_encoder
from extract.runtime.precision import probe_windows


@pytest.fixture
def graph(tiny_encoder):
    return export_encoder(tiny_encoder)


@pytest.fixture
def measured(monkeypatch):
    """Makes measuring say what a test wants; the list counts how often it was asked."""
    asked = []

    def pretend(found):
        def answer(encoders):
            asked.append(set(encoders))
            return found

        monkeypatch.setattr(runtime, "measure", answer)
        return asked

    return pretend


@pytest.fixture
def auto(tmp_path):
    return Runtime("auto", cache=tmp_path / "cache")


@pytest.fixture
def windows(tiny_contract):
    return probe_windows(tiny_contract, count=3)
