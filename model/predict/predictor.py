"""Predictor: typed answers from feature tracks, for the server and the tools."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from extract.encoders.encoder import VideoEncoder
from extract.encoders.load import encoder_from_spec
from extract.encoders.precomputed import PrecomputedFeatures
from extract.features.track import EncoderId, FeatureTrack
from extract.runtime.choose import TORCH, Choice, Runtime, choose_encoder
from model.config import ModelConfig
from model.errors import FeatureMismatch, SegmentInvalid, UnknownTask
from model.forecast.load import at_config, build_forecaster
from model.nn.knn import SearchName
from model.nn.skill import Votes
from model.nn.skill_set import SkillSet, build_skills
from model.nodes import TOLERANCE_S, Bounds, cut_track, nodes_on
from model.predict.answers import AnswerReader, graph_votes, votes_on_host
from model.predict.outputs import ForecastAnswer, LtaAnswer, Prediction
from model.predict.search import BackpackSearch, PrototypeMatches, SearchQuery
from model.predict.transfer import to_device
from model.tasks import AR, LTA, TaskSpec
from weights.bundle import ENCODER_FILE, ONNX_FILE, Bundle, load_bundle
from weights.bundle.manifest import Manifest
from weights.errors import BundleError
from weights.storage.cache import Cache
from weights.storage.folders import Place

LOOK_BACK = 256  # segments that a sequence forecaster looks back on, at most


@dataclass(frozen=True, eq=False)
class PredictRequest:
    """Request for the answers on one track.

    Attributes:
        track: features of the clip.
        tasks: to answer.
        segments: (start_s, end_s) pairs in time order; None cuts the clip every `segment_s`.
        segment_s: length of a cut segment.
        top_k: labels in each ranked list, and prototypes in each list of evidence.
        seed: of the sampled futures.
        has_evidence: answers say what they rest on, which takes a part of their time.
    """

    track: FeatureTrack
    tasks: frozenset[str]
    segments: tuple[tuple[float, float], ...] | None = None
    segment_s: float = 8.0
    top_k: int = 5
    seed: int = 0
    has_evidence: bool = True


class Predictor:
    """Answers for tracks made by one bundle's encoder.

    Attributes:
        name: of the bundle.
        version: of the bundle.
        sha256: of the bundle.
        manifest: of the bundle.
        tasks: that can be answered.
        encoder: of the tracks; a bundle for stored features has only its name, unless the encoder
            that made them was given.
        runtime: of the encoder, and the reason for it; None if the bundle has no encoder.
        backpacks: search over the prototypes.
        forecaster: of LTA's futures, from the recognised past; None if the bundle has none.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "cpu",
        search: SearchName = "auto",
        encoder: VideoEncoder | None = None,
        runtime: Runtime = TORCH,
        like: "Predictor | None" = None,
    ) -> None:
        """Builds every model of a loaded bundle.

        Args:
            bundle: to build.
            device: of the models.
            search: k-NN implementation.
            encoder: of the features that the bundle was trained on; only for a bundle without an
                encoder. It stays on its device.
            runtime: for the bundle's own encoder.
            like: its encoder is used, on its device, if it is the same one; the other is then not
                built.

        Raises:
            BundleError: the tensors do not fit the manifest.
            FeatureMismatch: the encoder makes other features, or the bundle has its own.
            RuntimeUnavailable: the runtime is not installed.
        """
        self.manifest = bundle.manifest
        self.name, self.version = bundle.manifest.name, bundle.manifest.version
        self.sha256 = bundle.sha256
        self.device = torch.device(device)
        self.skills: SkillSet = build_skills(bundle, search=search, device=self.device)
        self.tasks = tuple(self.skills.specs)
        self.config = ModelConfig.from_dict(bundle.manifest.model)
        self._released: EncoderId | None = None  # for tracks without a fingerprint
        self.encoder: VideoEncoder
        self.runtime: Choice | None
        if like is not None and _has_encoder_of(bundle.manifest, like.manifest):
            self.encoder, self.runtime = like.encoder, like.runtime
            self._released = like._released
        else:
            self.encoder, self.runtime = _encoder(
                bundle, self.config.input_size, self.device, runtime
            )
            if isinstance(self.encoder, PrecomputedFeatures):
                self._released = EncoderId(self.encoder.name, "")
            if encoder is not None:
                self.encoder = _attached(self.encoder, encoder)
        self.backpacks = BackpackSearch(self.skills, self.manifest.label_spaces)
        self.forecaster = build_forecaster(bundle)
        if self.forecaster is not None:
            self.forecaster = at_config(self.forecaster, self.config)
        self._reader = AnswerReader(bundle.manifest, self.skills, self.forecaster)

    @classmethod
    def from_bundle(
        cls,
        place: Place,
        *,
        device: str = "cpu",
        search: SearchName = "auto",
        encoder: VideoEncoder | None = None,
        runtime: Runtime = TORCH,
        like: "Predictor | None" = None,
    ) -> "Predictor":
        """Loads and verifies a bundle from a folder or a URL; the rest is the constructor's.

        Files from a URL are cached in the runtime's cache folder.

        Raises:
            WeightsError: there is no bundle, or it cannot be trusted.
            FeatureMismatch: the encoder makes other features, or the bundle has its own.
            RuntimeUnavailable: the runtime is not installed.
        """
        bundle = load_bundle(place, cache=Cache(runtime.cache) if runtime.cache else None)
        return cls(
            bundle, device=device, search=search, encoder=encoder, runtime=runtime, like=like
        )

    @property
    def backbone_passes(self) -> int:
        """Passes through temporal backbones so far."""
        return self.skills.backbone_passes

    @property
    def reach(self) -> int:
        """Segments on either side of one that its answer may depend on."""
        return max(spec.num_segments for spec in self.skills.specs.values())

    @property
    def look_back(self) -> int:
        """Segments before its end that a forecast depends on, beside `reach`; 0 for no more."""
        return 0 if self.forecaster is None else LOOK_BACK

    @property
    def forecasts(self) -> frozenset[str]:
        """Tasks with one answer per clip, from its last segments."""
        return frozenset(task for task, spec in self.skills.specs.items() if spec.num_future)

    def check(self, request: PredictRequest) -> None:
        """Validates a request.

        Raises:
            UnknownTask: a task has no skill here.
            SegmentInvalid: a segment is empty, reversed or outside the clip.
            FeatureMismatch: the track comes from another encoder.
        """
        for task in sorted(request.tasks):
            if task not in self.tasks:
                raise UnknownTask(task, self.tasks)
        made_by, ours = request.track.encoder, self.encoder
        is_ours = bool(ours.fingerprint) and made_by.fingerprint == ours.fingerprint
        if not is_ours and made_by != self._released:
            raise FeatureMismatch(
                f"this bundle's encoder is {ours.name} {ours.fingerprint[:12]}, "
                f"the features come from {made_by.name[:64]} {made_by.fingerprint[:12]}"
            )
        first_s, last_s = request.track.origin_s, request.track.video_end_s
        for index, (start_s, end_s) in enumerate(request.segments or ()):
            if not 0 <= start_s < end_s:
                raise SegmentInvalid(index, f"needs 0 <= start < end, got [{start_s}, {end_s}]")
            if end_s <= first_s or end_s > last_s + TOLERANCE_S:
                raise SegmentInvalid(
                    index,
                    f"ends at {end_s} s, but the clip shows frames from {first_s:.3f} to "
                    f"{last_s:.3f} s",
                )

    @torch.inference_mode()
    def predict(self, requests: Sequence[PredictRequest]) -> list[Prediction]:
        """Answers requests in one batch: one pass of each backbone.

        Raises:
            ModelError: as `check` does.
        """
        for request in requests:
            self.check(request)
        segments = [cut_track(r.track, r.segments, r.segment_s) for r in requests]
        inputs: dict[str, list[Tensor]] = {}
        needed = [self._needed(request) for request in requests]
        for request, cut, tasks in zip(requests, segments, needed, strict=True):
            for task in tasks:
                nodes = nodes_on(request.track, cut, self.skills.specs[task], self.config)
                inputs.setdefault(task, []).append(nodes)
        votes = self._votes({task: torch.cat(parts) for task, parts in sorted(inputs.items())})
        firsts = _first_graphs(needed, segments, self.skills.specs)
        return [
            self._assemble(request, cut, votes, first)
            for request, cut, first in zip(requests, segments, firsts, strict=True)
        ]

    @torch.inference_mode()
    def search(
        self, request: PredictRequest, query: SearchQuery
    ) -> tuple[list[Bounds], PrototypeMatches]:
        """Returns a track's segments and the prototypes closest to each.

        Args:
            request: its track and segments; tasks are ignored.
            query: perspectives, backbone and number of prototypes.

        Raises:
            ModelError: as `check` does, or there is no such backpack or perspective.
        """
        self.check(request)
        cut = cut_track(request.track, request.segments, request.segment_s)
        (nodes,) = to_device([nodes_on(request.track, cut, AR, self.config)], self.device)
        return cut, self.backpacks.of_segments(nodes, query)

    def _votes(self, inputs: dict[str, Tensor]) -> dict[str, Votes]:
        """Every skill's votes, on the host: an answer reads a hundred of their numbers."""
        if not inputs:
            return {}
        nodes = to_device(list(inputs.values()), self.device)
        votes: dict[str, Votes] = self.skills(dict(zip(inputs, nodes, strict=True)))
        return votes_on_host(votes)

    def _needed(self, request: PredictRequest) -> frozenset[str]:
        """The tasks whose graphs are run: a forecast from the past needs AR of every segment."""
        looks_back = self.forecaster is not None and LTA.name in request.tasks
        return request.tasks | {AR.name} if looks_back else request.tasks

    def _assemble(
        self,
        request: PredictRequest,
        cut: list[tuple[float, float]],
        votes: dict[str, Votes],
        first: dict[str, int],
    ) -> Prediction:
        """Returns one request's prediction; `first` is its first graph in each task's batch."""
        top_k, has_evidence = request.top_k, request.has_evidence
        segments = []
        for index, bounds in enumerate(cut):
            mine = {
                task: graph_votes(votes[task], first[task] + index)
                for task in self.tasks
                if task in request.tasks and not self.skills.specs[task].num_future
            }
            segments.append(
                self._reader.segment(bounds, mine, top_k=top_k, has_evidence=has_evidence)
            )
        lta: LtaAnswer | None = None
        skills: dict[str, ForecastAnswer] = {}
        for task in self.tasks:
            spec = self.skills.specs[task]
            if task not in request.tasks or not spec.num_future:
                continue
            observed = list(range(max(0, len(cut) - spec.num_segments), len(cut)))
            mine_future = graph_votes(votes[task], first[task])
            if task == LTA.name:
                past = None
                if self.forecaster is not None:
                    end = first[AR.name] + len(cut)
                    seen = slice(end - min(len(cut), LOOK_BACK), end)
                    past = graph_votes(votes[AR.name], seen)
                lta = self._reader.future(
                    task,
                    mine_future,
                    observed,
                    seed=request.seed,
                    past=past,
                    top_k=top_k,
                    has_evidence=has_evidence,
                )
            else:
                skills[task] = self._reader.forecast(
                    task, mine_future, observed, top_k=top_k, has_evidence=has_evidence
                )
        return Prediction(segments, lta, skills)


def _encoder(
    bundle: Bundle, input_size: int, device: torch.device, runtime: Runtime
) -> tuple[VideoEncoder, Choice | None]:
    spec, file = bundle.manifest.encoder, ENCODER_FILE
    try:
        if spec.get("kind") == "features":
            return PrecomputedFeatures.from_spec(spec, input_size), None
        encoder = encoder_from_spec(spec, bundle.encoder).to(device)
        file = ONNX_FILE
        return choose_encoder(encoder, bundle.encoder_onnx, runtime)
    except ValueError as error:
        expected = f"the encoder {spec.get('name')!r} of the manifest"
        raise BundleError(file, expected=expected, found=str(error)) from error


def _has_encoder_of(manifest: Manifest, other: Manifest) -> bool:
    """Whether two bundles have one encoder: by entry and by the hashes of its files."""
    files = (ENCODER_FILE, ONNX_FILE)
    of_files = [[found.files.get(name) for name in files] for found in (manifest, other)]
    return manifest.encoder == other.encoder and of_files[0] == of_files[1]


def _attached(own: VideoEncoder, given: VideoEncoder) -> VideoEncoder:
    if not isinstance(own, PrecomputedFeatures):
        raise FeatureMismatch(f"this bundle brings its own encoder, {own.name}; name no other")
    try:
        return own.made_by(given)
    except ValueError as error:
        raise FeatureMismatch(str(error)) from error


def _first_graphs(
    needed: Sequence[frozenset[str]],
    segments: list[list[tuple[float, float]]],
    specs: dict[str, TaskSpec],
) -> list[dict[str, int]]:
    """Position of each request's first graph in each task's batch."""
    total: dict[str, int] = {}
    firsts = []
    for tasks, cut in zip(needed, segments, strict=True):
        firsts.append({task: total.get(task, 0) for task in tasks})
        for task in tasks:
            total[task] = total.get(task, 0) + (1 if specs[task].num_future else len(cut))
    return firsts
