"""Progress bar over videos of very different lengths."""

from collections.abc import Sequence

from tqdm import tqdm

from extract.dataset.pipeline import Progress
from extract.dataset.results import VideoDone
from extract.dataset.video_lists import Video

_FORMAT = "{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]"


class ProgressBar:
    """Videos done, windows a second and time left.

    A video is weighted by the size of its file, and its part under way counts too.

    Attributes:
        longest_first: the videos in the order in which the last one ends soonest.
    """

    def __init__(self, videos: Sequence[Video]) -> None:
        self._sizes = {video.id: _size(video) for video in videos}
        self.longest_first = sorted(videos, key=lambda video: -self._sizes[video.id])
        self._videos = len(videos)
        self._done = 0
        self._windows = 0
        self._under_way: dict[str, Progress] = {}

    def __enter__(self) -> "ProgressBar":
        self._bar = tqdm(total=sum(self._sizes.values()), bar_format=_FORMAT, disable=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, news: VideoDone | Progress) -> None:
        """Updates the bar with a video's progress or end."""
        video = news.video
        before = self._under_way.pop(video.id, None)
        share = 1.0
        if isinstance(news, Progress):
            self._under_way[video.id] = news
            share = news.share
        else:
            self._done += 1
            self._windows += news.entry.windows
        self._bar.set_description_str(self._description(), refresh=False)
        self._bar.update((share - (before.share if before else 0.0)) * self._sizes[video.id])

    def _description(self) -> str:
        windows = self._windows + sum(p.num_windows for p in self._under_way.values())
        seconds = self._bar.format_dict["elapsed"] or 1.0
        return f"{self._done}/{self._videos} videos, {windows / seconds:.1f} windows/s"


def _size(video: Video) -> int:
    try:
        return max(1, video.path.stat().st_size)
    except (OSError, ValueError):  # a path that holds a zero byte
        return 1
