"""A project's labelling interface, and predictions as regions that fit it."""

from dataclasses import dataclass
from typing import Any, Self
from xml.etree import ElementTree

from clients.output.formats import score_of, to_label_studio
from clients.results.predictions import PredictionResult


@dataclass(frozen=True)
class Interface:
    """The tags of an interface that predictions can fill.

    Attributes:
        control: name of its TimelineLabels.
        video: name of the Video they label.
        key: of the video's address in a task's data.
        labels: that the control offers.
    """

    control: str
    video: str
    key: str
    labels: frozenset[str]

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
