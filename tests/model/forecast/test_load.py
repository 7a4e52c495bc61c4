"""A forecaster goes into a bundle and comes back; bundles without one are as before."""

import json
from dataclasses import replace

import pytest
import torch

from model.config import ModelConfig
from model.forecast.load import at_config, at_temperature, build_forecaster
from tests.support.factories import TINY, make_bundle, with_forecaster
from weights.bundle import load_bundle, save_bundle
from weights.errors import BundleError


@pytest.fixture(scope="module")
def bundle():
    return with_forecaster(make_bundle())


def test_it_comes_back_from_disk_to_the_bit(bundle, tmp_path):
    save_bundle(bundle, tmp_path / "b")
    loaded = load_bundle(tmp_path / "b")
    one, two = build_forecaster(bundle), build_forecaster(loaded)
    assert one.config == two.config
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
    file = tmp_path / "b" / "forecaster.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match=r"forecaster\.safetensors"):
        load_bundle(tmp_path / "b")


def test_a_bundle_without_one_has_no_word_of_it(tmp_path):
    save_bundle(make_bundle(), tmp_path / "b")
    assert "forecaster" not in json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert not (tmp_path / "b" / "forecaster.safetensors").exists()
    loaded = load_bundle(tmp_path / "b")
    assert build_forecaster(loaded) is None
    assert loaded.manifest.forecaster == {}


def changed(bundle, entry=None, tensors=None, skills=None):
    manifest = replace(
        bundle.manifest,
        forecaster={**bundle.manifest.forecaster, **(entry or {})},
        skills=bundle.manifest.skills if skills is None else skills,
    )
    return replace(bundle, manifest=manifest, forecaster={**bundle.forecaster, **(tensors or {})})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"entry": {"config": {"hidden_size": 1}}}, "hidden_size"),
        ({"entry": {"config": {"depth": 3}}}, "depth"),
        ({"entry": {"pairs": 6}}, "of_pair.bias of shape"),
        ({"tensors": {"extra": torch.zeros(1)}}, "extra of shape nothing"),
        ({"tensors": {"pairs": torch.full((7, 2), 9)}}, "ids outside of them"),
        ({"skills": {}}, "skills ar and lta beside a forecaster"),
    ],
)
def test_one_that_does_not_fit_is_refused(bundle, change, said):
    with pytest.raises(BundleError, match=said):
        build_forecaster(changed(bundle, **change))


def test_temperatures_are_multiplied_and_the_weights_shared(bundle):
    model = build_forecaster(bundle)
    half = at_temperature(model, 0.5)
    colder = at_config(half, replace(TINY, future_temperature=0.4))
    assert (model.config.temperature, half.config.temperature) == (1.0, 0.5)
    assert colder.config.temperature == pytest.approx(0.2)
    assert colder.gru is model.gru
    assert at_config(half, ModelConfig()).config.temperature == 0.5
