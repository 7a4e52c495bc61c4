import torch

from model.nn.few_labels import weigh
from model.nn.few_labels.weigh import fit_weights, fold_masks, out_of_fold, prior_weights


def test_folds_hold_out_whole_videos_and_keep_classes_apart_evenly():
    labels = torch.arange(60) % 3
    videos = [f"v{i // 4}" for i in range(60)]  # 15 videos of four rows
    masks = fold_masks(labels, videos, seed=0)
    assert masks.shape == (5, 60)
    assert ((1 - masks).sum(dim=0) == 1).all()  # each row is held out once
    for video in set(videos):
        rows = [i for i, v in enumerate(videos) if v == video]
        assert (masks[:, rows] == masks[:, rows[:1]]).all()
    held = 1 - masks
    for c in range(3):
        assert (
            3 <= held[:, labels == c].sum(dim=1).min() <= held[:, labels == c].sum(dim=1).max() <= 5
        )


def test_rows_of_one_video_are_held_out_one_by_one():
    labels = torch.arange(10) % 2
    masks = fold_masks(labels, ["a"] * 10, seed=0)
    assert ((1 - masks) @ torch.nn.functional.one_hot(labels).double() == 1).all()


def test_one_label_a_class_cannot_be_held_out():
    assert len(fold_masks(torch.arange(4), list("abcd"), seed=0)) == 0


def test_a_row_whose_class_is_in_no_other_fold_is_not_judged():
    labels = torch.tensor([0, 0, 1])
    fold, learnt = out_of_fold(fold_masks(labels, list("abc"), seed=0), labels)
    assert learnt.tolist() == [True, True, False]
    assert fold[0] != fold[1]


def test_weights_are_the_constrained_optimum():
    generator = torch.Generator().manual_seed(0)
    votes = torch.randn(3, 80, 4, generator=generator, dtype=torch.float64).log_softmax(dim=2)
    labels = votes[0].argmax(dim=1)  # the first voter knows, the last says the opposite
    votes[2] = (-votes[0]).log_softmax(dim=1)
    prior = torch.tensor([0.2, 0.5, 0.5], dtype=torch.float64)
    found = fit_weights(votes, labels, torch.ones(1, 80, dtype=torch.float64), prior)[0]
    assert found[2] == 0
    assert found[0] > prior[0]

    def loss(w):
        fused = torch.einsum("v,vmy->my", w, votes)
        cost = torch.nn.functional.cross_entropy(fused, labels, reduction="sum")
        return cost + weigh.STRENGTH / 2 * (w - prior).square().sum()

    for place in range(3):
        for step in (-0.01, 0.01):
            moved = found.clone()
            moved[place] = (moved[place] + step).clamp(min=0)
            assert loss(moved) >= loss(found) - 1e-9


def test_the_prior_of_fewer_voters_has_the_same_sum():
    some = prior_weights(["own", "smoothed"])
    assert float(some.sum()) == sum(weigh.PRIOR.values())
    assert float(prior_weights(["own"])) == sum(weigh.PRIOR.values())
