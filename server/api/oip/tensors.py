"""Output tensors: a prediction -> every label's probability, in the order of the label spaces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.predict.outputs import ForecastAnswer, InstantAnswer, LtaAnswer, Prediction, Ranked
from model.predict.predictor import Predictor
from model.tasks import AR, FIXED_LABELS, LTA, NUM_HYPOTHESES, OSCC, PNR, Readout, TaskSpec

Array = np.ndarray


@dataclass(frozen=True)
class Output:
    """One output tensor of a bundle.

    Attributes:
        name: as in requests.
        datatype: "FP32", "FP64" or "BYTES".
        shape: -1: number of segments.
        read: extracts it from a prediction.
        task: task that it needs; None: any.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    read: Callable[[Prediction], Array]
    task: str | None = None


def outputs_of(predictor: Predictor) -> list[Output]:
    """Returns every output tensor of a bundle."""
    spaces = predictor.manifest.label_spaces | FIXED_LABELS
    bounds = Output("segments", "FP64", (-1, 2), _bounds)
    return [bounds] + [
        output
        for task in predictor.tasks
        for output in _outputs_of_task(
            TaskSpec.from_dict(predictor.manifest.skills[task]["spec"]),
            {space: len(names) for space, names in spaces.items()},
        )
    ]


def _outputs_of_task(spec: TaskSpec, sizes: dict[str, int]) -> list[Output]:
    task, size = spec.name, sizes[spec.outputs[0]]
    if task == OSCC.name:
        return [Output("oscc.state_change", "FP32", (-1,), _state_change, task)]
    if task == AR.name:
        return [
            Output(f"ar.{space}", "FP32", (-1, sizes[space]), _action(space, sizes[space]), task)
            for space in spec.outputs
        ]
    if task == LTA.name:
        future = spec.num_future
        steps = [
            Output(f"lta.{s}", "FP32", (future, sizes[s]), _future(s, sizes[s]), task)
            for s in spec.outputs
        ]
        shape = (NUM_HYPOTHESES, future, len(spec.outputs))
        return [*steps, Output("lta.hypotheses", "BYTES", shape, _hypotheses, task)]
    if spec.readout is Readout.NODES:
        return [
            Output(f"{task}.scores", "FP32", (-1, spec.num_nodes), _scores(task), task),
            Output(f"{task}.time_s", "FP64", (-1,), _time(task), task),
        ]
    if spec.num_future:
        return [
            Output(f"{task}.labels", "FP32", (spec.num_future, size), _forecast(task, size), task)
        ]
    return [Output(f"{task}.labels", "FP32", (-1, size), _labels(task, size), task)]


def _dense(lists: Sequence[Sequence[Ranked]], size: int) -> Array:
    """Ranked lists -> (n, size) float32; every label is in each list."""
    probabilities = np.zeros((len(lists), size), np.float32)
    for row, ranked in zip(probabilities, lists, strict=True):
        for label in ranked:
            row[label.id] = label.probability
    return probabilities


def _bounds(found: Prediction) -> Array:
    return np.array([(s.start_s, s.end_s) for s in found.segments], np.float64)


def _state_change(found: Prediction) -> Array:
    return np.array([s.oscc.probability for s in found.segments if s.oscc], np.float32)


def _action(space: str, size: int) -> Callable[[Prediction], Array]:
    return lambda found: _dense([getattr(s.ar, space) for s in found.segments], size)


def _instants(found: Prediction, task: str) -> list[InstantAnswer]:
    of_task = [s.pnr if task == PNR.name else s.skills[task].instant for s in found.segments]
    return [instant for instant in of_task if instant is not None]


def _scores(task: str) -> Callable[[Prediction], Array]:
    return lambda found: np.array([i.scores for i in _instants(found, task)], np.float32)


def _time(task: str) -> Callable[[Prediction], Array]:
    return lambda found: np.array([i.time_s for i in _instants(found, task)], np.float64)


def _labels(task: str, size: int) -> Callable[[Prediction], Array]:
    return lambda found: _dense([s.skills[task].labels or [] for s in found.segments], size)


def _forecast(task: str, size: int) -> Callable[[Prediction], Array]:
    def read(found: Prediction) -> Array:
        forecast: ForecastAnswer = found.skills[task]
        return _dense(forecast.steps, size)

    return read


def _lta(found: Prediction) -> LtaAnswer:
    assert found.lta is not None  # the task was requested
    return found.lta


def _future(space: str, size: int) -> Callable[[Prediction], Array]:
    return lambda found: _dense([getattr(step, space) for step in _lta(found).steps], size)


def _hypotheses(found: Prediction) -> Array:
    return np.array(_lta(found).hypotheses, dtype=object)
