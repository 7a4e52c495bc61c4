"""Inference request of the protocol -> engine request; engine result -> output tensors."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from extract.encoders.encoder import VideoEncoder
from extract.features.extractor import track_from
from extract.features.track import FeatureTrack
from extract.windows import count_windows
from model.predict.predictor import Predictor
from server.api.oip.schemas import InferRequest, InferResponse, Parameters
from server.api.oip.tensors import Output, outputs_of
from server.api.oip.wire import Array, InferSink, encode_tensor, read_clip, read_matrix
from server.engine.request import ClipResult, Source
from server.engine.uploaded_features import check_shape, check_track, most_windows
from server.errors import FeaturesInvalid, FieldInvalid
from server.schemas.json_bounds import MAX_VALUES
from server.schemas.options import PredictOptions, check_options
from server.settings.settings import Settings

KNOWN = ("segment_s", "seed", "video_track", "num_frames", "timeout", "binary_data_output")
MICROSECONDS = 1e6
MAX_MICROSECONDS = 2**63


class Inference:
    """A validated request.

    Attributes:
        options: for the engine.
    """

    def __init__(self, request: InferRequest, predictor: Predictor) -> None:
        """Checks the JSON part.

        Raises:
            FieldInvalid: a parameter or an output does not exist.
        """
        for name in request.parameters:
            if name not in KNOWN:
                raise FieldInvalid((f"/parameters/{name}", f"known are {', '.join(KNOWN)}"))
        self._request, self._predictor = request, predictor
        self._outputs = _wanted(request, outputs_of(predictor))
        self.options = _options(request.parameters, self._outputs, predictor)

    async def source(
        self, sink: InferSink, path: Path, size_bytes: int, settings: Settings
    ) -> Source:
        """Returns the clip, or its features.

        Args:
            sink: has read the body.
            path: file of the bytes after the JSON.
            size_bytes: its size.
            settings: limits in force.

        Raises:
            FieldInvalid: the tensor does not match its shape or type.
            FeaturesInvalid: the features are not this encoder's.
        """
        (tensor,) = self._request.inputs
        lead = sink.binary(tensor, size_bytes)
        if tensor.name == "video":
            return await asyncio.to_thread(read_clip, tensor, lead, path)
        if len(tensor.shape) == 2:
            rows, width = tensor.shape
            encoder = self._predictor.encoder
            check_shape(rows, width, encoder, max_duration_s=settings.max_duration_s)
        matrix = await asyncio.to_thread(read_matrix, tensor, lead, path)
        num_frames = self._request.parameters.get("num_frames")
        track = _track(matrix, num_frames, self._predictor.encoder)
        check_track(track, self._predictor.encoder, max_duration_s=settings.max_duration_s)
        return track

    def answer(self, outcome: ClipResult) -> tuple[bytes, int | None]:
        """Returns the body, and the length of its JSON if binary tensors follow it."""
        by_default = self._request.parameters.get("binary_data_output", False)
        requested = {output.name: output.parameters for output in self._request.outputs or ()}
        tensors, chunks, has_binary = [], [b""], False
        for output in self._outputs:
            is_binary = bool(requested.get(output.name, {}).get("binary_data", by_default))
            array = output.read(outcome.prediction)
            tensor, data = encode_tensor(output.name, output.datatype, array, is_binary=is_binary)
            tensors.append(tensor)
            chunks.append(data)
            has_binary |= is_binary
        response = InferResponse(
            model_name=self._predictor.name,
            model_version=self._predictor.version,
            id=self._request.id,
            outputs=tensors,
        )
        chunks[0] = response.model_dump_json(exclude_none=True).encode()
        return b"".join(chunks), len(chunks[0]) if has_binary else None


def most_values(encoder: VideoEncoder, settings: Settings) -> int:
    """Returns how many values the JSON of an inference may have: the longest clip's features."""
    windows = most_windows(encoder, settings.max_duration_s)
    return MAX_VALUES + windows * (encoder.dim + 1)


def _wanted(request: InferRequest, known: Sequence[Output]) -> list[Output]:
    if not request.outputs:
        return list(known)
    by_name = {output.name: output for output in known}
    for index, wish in enumerate(request.outputs):
        if wish.name not in by_name:
            detail = f"this model gives {', '.join(by_name)}"
            raise FieldInvalid((f"/outputs/{index}/name", detail))
        if unknown := set(wish.parameters) - {"binary_data"}:
            where = f"/outputs/{index}/parameters/{sorted(unknown)[0]}"
            raise FieldInvalid((where, "known is binary_data"))
    return [by_name[name] for name in dict.fromkeys(wish.name for wish in request.outputs)]


def _options(
    parameters: Parameters, outputs: Sequence[Output], predictor: Predictor
) -> PredictOptions:
    tasks = list(dict.fromkeys(output.task for output in outputs if output.task is not None))
    values: dict[str, Any] = {
        name: parameters[name]
        for name in ("segment_s", "seed", "video_track")
        if name in parameters
    }
    if "timeout" in parameters:
        timeout = parameters["timeout"]
        if isinstance(timeout, str | bool) or not 0 < timeout < MAX_MICROSECONDS:
            raise FieldInvalid(("/parameters/timeout", "expected microseconds"))
        values["timeout_s"] = timeout / MICROSECONDS
    options = check_options(PredictOptions, {**values, "tasks": tasks or [predictor.tasks[0]]})
    # A tensor holds every label, not only the top k.
    longest = max(len(names) for names in predictor.manifest.label_spaces.values())
    return options.model_copy(update={"top_k": longest})


def _track(matrix: Array, num_frames: object, encoder: VideoEncoder) -> FeatureTrack:
    """Returns the track of a feature matrix, whose windows are assumed regular."""
    contract, rows = encoder.contract, len(matrix)
    if rows == 0:
        raise FeaturesInvalid("expected at least one feature")
    if num_frames is None:
        num_frames = contract.window_frames + contract.stride_frames * (rows - 1)
    if not isinstance(num_frames, int) or not 1 <= num_frames < 2**31:
        raise FieldInvalid(("/parameters/num_frames", "expected the number of frames of the clip"))
    if (expected := count_windows(num_frames, contract)) != rows:
        raise FeaturesInvalid(
            f"{num_frames} frames make {expected} windows, {rows} features came; give the "
            "clip's length as the parameter num_frames"
        )
    return track_from(torch.from_numpy(matrix), num_frames, encoder, "clip")
