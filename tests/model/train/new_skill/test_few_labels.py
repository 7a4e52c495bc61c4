import torch

from model.nn.skill_set import Backbone
from model.train.new_skill.few_labels import learn_panel, rows_of, served, videos_of
from tests.support.factories import make_samples, make_skills


def made():
    skills = make_skills()
    backbone = Backbone(skills.models["shared"], skills.backpacks["shared"])
    samples = make_samples()["oscc"]
    samples = samples.take(torch.arange(12))
    samples = type(samples)(**{**vars(samples), "names": [f"v{i // 4}:{i}" for i in range(12)]})
    return backbone, samples


def test_rows_do_not_depend_on_their_batch_and_name_their_videos():
    backbone, samples = made()
    whole = rows_of(backbone, samples)
    some = rows_of(backbone, samples.take(torch.tensor([3, 7])))
    for design in ("features", "views", "smoothed", "posterior"):
        expected = getattr(whole, design)[[3, 7]]
        torch.testing.assert_close(getattr(some, design), expected, atol=1e-5, rtol=1e-5)
    assert videos_of(samples)[::4] == ["v0", "v1", "v2"]


def test_a_served_skill_says_what_its_panel_does():
    backbone, samples = made()
    rows = rows_of(backbone, samples)
    panel = learn_panel(backbone, samples, rows, 2, seed=0)
    weights = panel.weights()
    skill = served(panel, weights, samples.spec, 3)
    inputs = samples.draw(torch.arange(12), backbone.model.config).inputs
    features = backbone.model.features({"oscc": inputs})["oscc"]
    fused = skill(features, backbone.model.heads, backbone.backpack).fused()["state"][:, 0]
    votes = dict(zip(panel.fitted, panel.votes(rows), strict=True))
    expected = sum(w * votes[name] for name, w in weights.items())
    torch.testing.assert_close(fused.double(), expected, atol=1e-3, rtol=1e-3)
    assert skill.perspectives == ("ar", "lta", "oscc", "pnr")
