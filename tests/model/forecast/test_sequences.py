"""Windows hold what is seen and what follows, never across clips."""

import torch

from model.data.sequences import ActionSequences

CLIPS = [
    torch.stack([torch.arange(n) + 100 * i, torch.arange(n)], 1) for i, n in enumerate((7, 3, 6))
]
JOINED = ActionSequences.join(CLIPS)


def test_every_window_of_every_clip_is_there_with_its_future():
    windows = JOINED.windows(2, 4)
    assert windows.clip.tolist() == [0, 0, 2]
    future = windows.future(JOINED.ids, 4)[..., 0]
    assert future.tolist() == [[2, 3, 4, 5], [3, 4, 5, 6], [202, 203, 204, 205]]
    assert windows.last.tolist() == [1, 2, 11]
    assert JOINED.windows(2, 4, every=2).last.tolist() == [1, 11]
    assert len(JOINED.windows(2, 6)) == 0


def test_the_past_is_all_of_the_clip_or_the_last_few_padded_in_front():
    windows = JOINED.windows(2, 4).take(torch.tensor([1, 2]))
    position, is_step = windows.past()
    assert JOINED.ids[position][..., 0].tolist() == [[0, 1, 2], [200, 200, 201]]
    assert is_step.tolist() == [[True, True, True], [False, True, True]]
    position, is_step = windows.seeing(2).past()
    assert JOINED.ids[position][..., 0].tolist() == [[1, 2], [200, 201]]
    assert is_step.all()


def test_clips_come_back_as_they_went_in():
    for mine, other in zip(JOINED.clips(), CLIPS, strict=True):
        assert torch.equal(mine, other)
