import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from server.errors import HostOutOfMemory, OutOfMemory, kind_of
from server.scheduling.out_of_memory import is_device_error, run_items_or_split, run_rows_or_split


@pytest.fixture
def _one_dnn_comes_back(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", True)


class Small:
    """Doubles what fits; more than `room` at once is out of memory."""

    def __init__(self, room):
        self.room, self.calls, self.failures = room, [], 0

    def __call__(self, values):
        self.calls.append(len(values))
        if len(values) > self.room:
            raise torch.OutOfMemoryError("full")
        return values * 2 if isinstance(values, torch.Tensor) else [2 * v for v in values]

    def count(self):
        self.failures += 1


@given(count=st.integers(1, 40), room=st.integers(0, 40))
def test_a_batch_that_does_not_fit_runs_in_halves_with_the_same_result(count, room):
    rows, items = torch.arange(count), list(range(count))
    for run_in_halves, values in ((run_rows_or_split, rows), (run_items_or_split, items)):
        small = Small(room)
        half = (count + 1) // 2
        if room < half:
            with pytest.raises(OutOfMemory):
                run_in_halves(small, values, small.count)
            assert small.failures == 2
        else:
            assert list(run_in_halves(small, values, small.count)) == [2 * n for n in range(count)]
            assert small.failures == (room < count)
        assert max(small.calls[1:], default=0) <= half


def test_other_errors_pass_unchanged():
    def fail(_):
        raise ValueError("poison")

    with pytest.raises(ValueError, match="poison"):
        run_rows_or_split(fail, torch.zeros(2), lambda: None)


@pytest.mark.parametrize(
    ("error", "is_device"),
    [
        (torch.OutOfMemoryError("full"), True),
        (MemoryError(), False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), False),
        (HostOutOfMemory("x"), False),
        (torch.AcceleratorError("launch failure"), True),
        (OutOfMemory("x"), True),
        (RuntimeError("shape"), False),
        (ValueError("x"), False),
    ],
)
def test_trouble_with_the_device_is_told_from_the_rest(error, is_device):
    assert is_device_error(error) == is_device


@pytest.mark.usefixtures("_one_dnn_comes_back")
def test_a_machine_without_memory_is_not_a_broken_device():
    for error in (MemoryError(), RuntimeError("could not create a primitive")):

        def fail(_, error=error):
            raise error

        with pytest.raises(HostOutOfMemory) as caught:
            run_rows_or_split(fail, torch.zeros(2), lambda: None)
        assert kind_of(caught.value) is kind_of(error)
        assert kind_of(error).status == 503
        assert kind_of(error).is_retryable


@pytest.mark.usefixtures("_one_dnn_comes_back")
def test_layers_that_one_dnn_failed_to_make_run_without_it():
    """It fails for ever then, whatever memory there is: seen with a limit on address space."""
    conv, clip = torch.nn.Conv3d(3, 4, 2), torch.rand(2, 3, 4, 8, 8)
    before = conv(clip)

    def run(rows):
        if torch.backends.mkldnn.enabled:
            raise RuntimeError("could not create a primitive")
        return conv(rows)

    torch.testing.assert_close(run_rows_or_split(run, clip, lambda: None), before)
