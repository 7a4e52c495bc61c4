"""A window's futures hang on its seed and its past alone, and never on what comes later."""

import torch

from model.config import ForecasterConfig
from model.data.sequences import ActionSequences
from model.forecast.forecaster import SequenceForecaster
from model.forecast.sampling import PastActions, draw_chances, one_hot, sample_windows

NUM = {"verb": 4, "noun": 3}
PAIRS = torch.tensor([[0, 0], [0, 2], [1, 1], [3, 0], [3, 2]])


def setting(seed=0, num_clips=6):
    torch.manual_seed(0)
    model = SequenceForecaster(ForecasterConfig(6, 8), PAIRS, NUM).eval()
    generator = torch.Generator().manual_seed(seed)
    clips = [
        PAIRS[torch.randint(0, 5, (n,), generator=generator)] for n in range(14, 14 + num_clips)
    ]
    return model, ActionSequences.join(clips)


def drawn(model, past, windows, seeds, count=7):
    return sample_windows(model, past, windows, seeds, count=count, steps=4)


def test_futures_are_the_same_alone_and_among_others_and_pairs_of_training():
    model, sequences = setting()
    past, windows = PastActions.labels(sequences.ids, 4, 3), sequences.windows(2, 4)
    assert len(windows) > 40  # more than one batch
    seeds = list(range(100, 100 + len(windows)))
    together = drawn(model, past, windows, seeds)
    for place in (0, 17, len(windows) - 1):
        alone = drawn(model, past, windows.take(torch.tensor([place])), [seeds[place]])
        assert all(torch.equal(alone[name][0], together[name][place]) for name in alone)
    pairs = torch.stack([together["verb"], together["noun"]], -1).flatten(0, -2).unique(dim=0)
    assert {tuple(p) for p in pairs.tolist()} <= {tuple(p) for p in PAIRS.tolist()}


def test_fewer_futures_are_the_first_of_more():
    assert torch.equal(draw_chances(3, 5, 4), draw_chances(3, 40, 4)[:5])


def test_what_comes_later_or_before_the_first_seen_does_not_matter():
    model, sequences = setting()
    past, windows = PastActions.labels(sequences.ids, 4, 3), sequences.windows(5, 4, every=4)
    seeds = list(range(len(windows)))
    for some, lowest in ((windows, windows.first), (windows.seeing(3), windows.last - 2)):
        before = drawn(model, past, some, seeds)
        for place in range(len(windows)):
            ids = sequences.ids.clone()
            ids[int(windows.last[place]) + 1 :] = 0
            ids[: int(lowest[place])] = 0
            one = some.take(torch.tensor([place]))
            other = drawn(model, PastActions.labels(ids, 4, 3), one, [seeds[place]])
            assert all(torch.equal(other[name][0], before[name][place]) for name in other)


def test_an_action_is_seen_with_the_context_that_was_there():
    """Column r of a recognised action is read where r later actions were observed."""
    verb = torch.arange(6 * 3 * 2, dtype=torch.float32).view(6, 3, 2)
    sequences = ActionSequences.join([torch.zeros(6, 2, dtype=torch.long)])
    windows = sequences.windows(4, 2)
    seen, _, is_step = PastActions(verb, verb).seen_by(windows)
    expected = [verb[0, 2], verb[1, 2], verb[2, 1], verb[3, 0]]
    assert torch.equal(seen[0], torch.stack(expected))
    assert is_step.all()
    assert PastActions(verb, verb).best().tolist() == [[[1, 1]] * 3] * 6


def test_unknown_labels_are_zeros():
    assert one_hot(torch.tensor([1, -1]), 3).tolist() == [[0, 1, 0], [0, 0, 0]]
