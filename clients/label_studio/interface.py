"""A project's labelling interface: predictions as its regions, annotations as labels."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from xml.etree import ElementTree

from clients.output.formats import score_of, to_label_studio
from clients.results.predictions import PredictionResult

FRAME_RATE = 24.0
"""Of a Video without a `frameRate`, as Label Studio has it."""


@dataclass(frozen=True)
class Interface:
    """The tags of an interface that predictions can fill, and annotations are read from.

    Attributes:
        control: name of its TimelineLabels.
        video: name of the Video they label.
        key: of the video's address in a task's data.
        labels: that the control offers.
        fps: frame rate that its regions count in.
    """

    control: str
    video: str
    key: str
    labels: frozenset[str]
    fps: float = FRAME_RATE

    @classmethod
    def from_config(cls, config: str) -> Self:
        """Parses the XML of an interface; raises ValueError without TimelineLabels over a Video."""
        try:
            view = ElementTree.fromstring(config)
        except ElementTree.ParseError as error:
            raise ValueError(f"the labelling interface is not XML: {error}") from error
        videos = {tag.get("name"): tag for tag in view.iter("Video")}
        for control in view.iter("TimelineLabels"):
            video = videos.get(control.get("toName"))
            if video is not None:
                return cls(
                    control=control.get("name", ""),
                    video=video.get("name", ""),
                    key=video.get("value", "").removeprefix("$"),
                    labels=frozenset(tag.get("value", "") for tag in control.iter("Label")),
                    fps=_rate(video.get("frameRate", "")),
                )
        raise ValueError("the labelling interface needs TimelineLabels whose toName is a Video")

    def prediction(self, result: PredictionResult) -> dict[str, Any]:
        """Returns a prediction with the regions whose labels the interface offers."""
        (task,) = to_label_studio(result)
        (made,) = task["predictions"]
        regions = [
            region | {"from_name": self.control, "to_name": self.video}
            for region in made["result"]
            if self.labels.issuperset(region["value"]["timelinelabels"])
        ]
        return {**made, "result": regions, "score": score_of(regions)}

    def stretches(self, task: Mapping[str, Any]) -> Iterator[tuple[float, float, str]]:
        """Yields start, end in seconds and label of what people have labelled in a task.

        Of several annotations the one that is marked as ground truth counts, or else the last that
        was changed; cancelled ones do not. A region with several labels has its first.

        Args:
            task: as Label Studio exports it in the format JSON.

        Raises:
            KeyError, TypeError, ValueError: it is not.
        """
        there = [one for one in task["annotations"] if not one.get("was_cancelled")]
        if not there:
            return
        best = max(there, key=lambda a: (bool(a.get("ground_truth")), str(a.get("updated_at", ""))))
        for region in best["result"]:
            value = region["value"]
            if region.get("from_name") == self.control and value.get("timelinelabels"):
                for bounds in value["ranges"]:
                    first, last = float(bounds["start"]), float(bounds["end"])
                    if not 1 <= first <= last < math.inf:
                        raise ValueError(f"a region from frame {first:g} to {last:g}")
                    label = str(value["timelinelabels"][0])
                    yield (first - 1) / self.fps, last / self.fps, label


def _rate(text: str) -> float:
    try:
        rate = float(text or FRAME_RATE)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ValueError(f"the labelling interface's frameRate is {text!r:.40}, which is no number")
    return rate
