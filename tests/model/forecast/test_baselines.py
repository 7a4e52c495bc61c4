"""Frequencies, repetition and bigrams, counted by hand and by the law of large numbers."""

import torch

from model.data.sequences import ActionSequences
from model.forecast.baselines import SMOOTHING, PairCounts, repeat

A, B, C = [0, 1], [2, 0], [2, 5]
TRAIN = ActionSequences.join([torch.tensor([A, B, A, B, C]), torch.tensor([C, A, [-1, 1], A])])


def test_repetition_goes_through_the_last_actions_again():
    clip = ActionSequences.join([torch.tensor([A, B, C, A, B, B, A])])
    windows = clip.windows(5, 2)
    past = clip.ids.unsqueeze(1)
    verbs_nouns = repeat(past, windows, 6)[0]
    assert verbs_nouns[0].tolist() == [B] * 6
    assert verbs_nouns[1].tolist() == [A, B] * 3
    assert verbs_nouns[2].tolist() == [B, C, A, B, B, C]
    assert verbs_nouns[3].tolist() == [A, B, C, A, B, A]  # no more than the five seen
    assert torch.equal(verbs_nouns[4], verbs_nouns[3])
    assert repeat(past, windows.seeing(1), 6)[0].tolist() == [[B] * 6] * 5


def test_the_last_actions_are_repeated_as_they_were_recognised_at_the_time():
    """Column r of an action is what was thought of it when r later ones had been observed."""
    past = torch.arange(7 * 3).view(7, 3, 1).expand(7, 3, 2)
    clip = ActionSequences.join([torch.zeros(7, 2, dtype=torch.long)])
    found = repeat(past, clip.windows(5, 2), 4)[0, 2, :, 0]
    assert found.tolist() == [3 * 1 + 2, 3 * 2 + 2, 3 * 3 + 1, 3 * 4 + 0]


def test_pairs_and_what_follows_them_are_counted_within_clips_and_known_actions():
    counts = PairCounts(TRAIN)
    assert counts.pairs.tolist() == [A, B, C]
    assert counts.count.tolist() == [4, 2, 2]
    assert counts.follow.tolist() == [[0, 2, 0], [1, 0, 1], [1, 0, 0]]
    wanted = torch.tensor([C, [0, 0], [9, 9], [-1, 1], A, [2, -1]])
    assert counts.index(wanted).tolist() == [2, -1, -1, -1, 0, -1]


def test_the_most_frequent_verb_and_noun_are_chosen_apart():
    counts = PairCounts(ActionSequences.join([torch.tensor([A, A, A, B, B, C, C])]))
    found = counts.most_frequent(2, 5, 3)
    assert found.shape == (2, 5, 3, 2)
    assert found.flatten(0, 2).unique(dim=0).tolist() == [[2, 1]]  # verb 2 of B and C, noun 1 of A


def test_draws_have_the_frequencies_of_training():
    counts = PairCounts(TRAIN)
    drawn = counts.index(counts.by_frequency(50, 20, 10, seed=0)).flatten()
    shares = drawn.bincount(minlength=3) / len(drawn)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.25, 0.25]), atol=0.02, rtol=0)
    assert torch.equal(counts.by_frequency(3, 2, 4, seed=1), counts.by_frequency(3, 2, 4, seed=1))


def test_bigrams_follow_the_smoothed_table_and_the_unigram_after_the_unknown():
    counts = PairCounts(TRAIN)
    unigram = counts.count.double() / 8
    last = torch.tensor([B, [7, 7]]).repeat(500, 1)
    drawn = counts.index(counts.by_bigram(last, 10, 2, seed=0))[..., 0].view(500, 2, 10)
    for place, row in enumerate([counts.follow[1] + SMOOTHING * unigram, unigram]):
        shares = drawn[:, place].flatten().bincount(minlength=3) / 5000
        torch.testing.assert_close(shares.double(), row / row.sum(), atol=0.03, rtol=0)
    cold = counts.by_bigram(last[:1], 10, 1, seed=0, temperature=1e-2)
    best = (counts.follow[1] + SMOOTHING * unigram).argmax()
    assert counts.index(cold).unique().tolist() == [int(best)]
