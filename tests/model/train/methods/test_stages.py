from model.train.methods.stages import fill_backpack
from tests.model.support.unlabelled import KEPT, hide
from tests.support.factories import make_skills


def test_the_backpack_of_a_split_with_hidden_labels_has_no_pair_never_seen(split):
    model = make_skills().models["shared"]
    hidden = hide(split["ar"])
    pack = fill_backpack(model, hidden)
    both = KEPT["verb"] & KEPT["noun"]
    labels = (split["ar"].labels[name][both, 0].tolist() for name in ("verb", "noun"))
    seen = set(zip(*labels, strict=True))
    assert set(zip(*(ids.tolist() for ids in pack.labels.values()), strict=True)) == seen
