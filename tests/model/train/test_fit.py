import signal
import threading

import pytest
import torch
from torch import nn

from model.config import FitConfig
from model.errors import Stopped
from model.train.fit import (
    STOP_SIGNALS,
    FitJob,
    backward_of,
    deferred_signals,
    fit,
    learning_rate_factor,
    reshuffled,
    shuffled,
)

X = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([1.0, -2.0, 0.5, 0.0])


class Killed(Exception):
    pass


def run(epochs, checkpoint=None, *, stop_at=None, signal_at=None):
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    config = FitConfig(epochs=epochs, learning_rate=0.01, batch_size=8, warmup_epochs=1)
    seen = 0

    def loss(which):
        nonlocal seen
        seen += 1
        if stop_at is not None and seen > stop_at:
            raise Killed
        if seen == signal_at:
            signal.raise_signal(signal.SIGTERM)
        return (model(X[which])[:, 0] - Y[which]).square().mean()

    fit(
        model,
        lambda g: shuffled(24, 8, g),
        backward_of(loss, model),
        FitJob(config, 3, checkpoint),
        steps_per_epoch=3,
        label="test",
    )
    return model


def test_a_killed_and_resumed_run_ends_with_the_same_weights(tmp_path):
    whole = run(6)
    path = tmp_path / "x.checkpoint"
    with pytest.raises(Killed):
        run(6, path, stop_at=10)  # in the fourth epoch
    resumed = run(6, path)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("steps", [10, 12])  # in the fourth epoch; at its end
def test_a_run_asked_to_end_stops_at_that_step_and_goes_on_with_the_same_bits(tmp_path, steps):
    whole = run(6)
    path = tmp_path / "x.checkpoint"
    with pytest.raises(Stopped, match=f"SIGTERM after step {steps} of 18"):
        run(6, path, signal_at=steps)
    state = torch.load(path)
    assert (state["epoch"], len(state["losses"])) == (3, steps - 9)
    assert list(tmp_path.iterdir()) == [path]
    resumed = run(6, path)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_an_older_version_is_gone_on_from(tmp_path):
    whole = run(6)
    path = tmp_path / "x.checkpoint"
    with pytest.raises(Killed):
        run(6, path, stop_at=10)
    state = torch.load(path)
    torch.save({name: state[name] for name in ("module", "optimizer", "epoch")}, path)
    for a, b in zip(whole.parameters(), run(6, path).parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_training_learns_and_ends_in_evaluation():
    model = run(60)
    assert not model.training
    assert (model(X)[:, 0] - Y).square().mean() < 0.2 * Y.square().mean()


def test_the_rate_warms_up_linearly_and_falls_to_zero_along_a_cosine():
    factors = [learning_rate_factor(s, 10, 100) for s in range(101)]
    assert factors[:10] == pytest.approx([(s + 1) / 11 for s in range(10)])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)


def test_shuffling_leaves_nobody_out():
    batches = list(shuffled(10, 4, torch.Generator().manual_seed(0)))
    assert [len(b) for b in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))


def test_a_task_that_starts_over_in_an_epoch_is_shuffled_again():
    batches = reshuffled(10, 4, torch.Generator().manual_seed(0))
    passes = [torch.cat([next(batches) for _ in range(3)]).tolist() for _ in range(4)]
    assert all(sorted(order) == list(range(10)) for order in passes)
    assert len({tuple(order) for order in passes}) == 4


class Taken(Exception):
    pass


@pytest.fixture
def _taken():
    def take(signum, _):
        raise Taken(signum)

    before = {signum: signal.signal(signum, take) for signum in STOP_SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.usefixtures("_taken")
@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_a_signal_waits_inside_and_is_not_lost(signum):
    done = []

    def work():
        with deferred_signals() as request:
            signal.raise_signal(signum)
            done.append(request.signum)

    with pytest.raises(Taken):
        work()
    assert done == [signum]


@pytest.mark.usefixtures("_taken")
def test_a_heeded_signal_is_over():
    with deferred_signals() as request:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        request.is_handled = True
    assert request.signum == signal.SIGTERM  # the first one counts


@pytest.mark.usefixtures("_taken")
def test_handlers_are_as_before_also_after_an_error():
    before = [signal.getsignal(signum) for signum in STOP_SIGNALS]
    with pytest.raises(ZeroDivisionError), deferred_signals():
        1 / 0  # noqa: B018
    assert [signal.getsignal(signum) for signum in STOP_SIGNALS] == before


@pytest.mark.usefixtures("_taken")
def test_without_a_place_to_stop_signals_do_what_they_do():
    with deferred_signals(active=False), pytest.raises(Taken):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("_taken")
def test_other_threads_leave_handlers_alone():
    seen = []

    def work():
        with deferred_signals():
            seen.extend(signal.getsignal(signum) for signum in STOP_SIGNALS)

    before = [signal.getsignal(signum) for signum in STOP_SIGNALS]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before
