import torch
from torch import nn

from model.nn.few_labels.panel import fit_panel
from model.nn.few_labels.skill import FewLabelSkill, empty_voters
from model.nn.few_labels.voters import VOTERS
from model.tasks import Readout, Sampling, TaskSpec
from tests.model.nn.few_labels.made import LABELS, PERSPECTIVES, make_world

ONE = TaskSpec("hand", Sampling.ACTIONS, Readout.CENTRE, 1, 1, ("hand",))


class Column(nn.Module):
    """A head that reads its own part of the features."""

    def __init__(self, place):
        super().__init__()
        self.place = place

    def forward(self, features):
        return features[..., 8 * self.place : 8 * self.place + 8]


def test_what_is_served_is_the_weighed_sum_of_the_panels_votes():
    rows, labels, pack = make_world()
    features = rows.views.float()
    rows.features.resize_(features.shape).copy_(features)
    few = torch.arange(12)
    panel = fit_panel(
        list(VOTERS), rows.take(few), labels[few], LABELS, list("abcdefghijkl"), pack,
        PERSPECTIVES, seed=0,
    )  # fmt: skip
    weights = {"gaussian": 0.5, "own": 1.0, "posterior": 0.25}
    fitted = {n: {k: t.float() for k, t in p.items()} for n, p in panel.fitted.items()}
    kept = {name: fitted[name] for name in (*weights, "examples")}
    skill = FewLabelSkill(ONE, PERSPECTIVES, weights, kept, 3)
    heads = nn.ModuleDict({task: Column(i) for i, task in enumerate(PERSPECTIVES)})
    votes = skill(features, heads, pack)
    said = dict(zip(VOTERS, panel.votes(rows), strict=True))
    expected = sum(w * said[name] for name, w in weights.items())
    torch.testing.assert_close(votes.fused()["hand"][:, 0].double(), expected, atol=1e-3, rtol=1e-3)
    assert list(votes.logits["hand"]) == ["own", "posterior", "gaussian"]
    assert votes.rows["oscc"].shape == (240, 1, 3)
    nearest, similarity = votes.examples
    assert nearest[:12, 0].tolist() == list(range(12))  # an example is most like itself
    torch.testing.assert_close(similarity[:12, 0], torch.ones(12))


def test_empty_voters_have_the_shapes_of_fitted_ones():
    rows, labels, pack = make_world()
    few = torch.arange(12)
    panel = fit_panel(
        list(VOTERS), rows.take(few), labels[few], LABELS, ["a"] * 12, pack, PERSPECTIVES, seed=0
    )
    empty = empty_voters(list(VOTERS), width=8, prototypes=12, views=2, labels=LABELS, examples=12)
    for name, parts in panel.fitted.items():
        assert {k: t.shape for k, t in parts.items()} == {
            k: t.shape for k, t in empty[name].items()
        }
