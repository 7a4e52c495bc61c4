"""Settings of live streams: how many, how long, and what becomes of slow or silent ends."""

from typing import Annotated

from pydantic import Field

from server.settings.teaching import TeachingSettings


class LiveSettings(TeachingSettings):
    """Limits of live streams."""

    live_sessions: Annotated[int, Field(ge=0)] = 16
    """Most concurrent live streams; further ones get 429. 0: none."""
    live_windows_s: Annotated[float, Field(ge=0)] = 0.0
    """Most windows a second of all live streams; 0: 0.7 of what the encoder does, as measured."""
    live_batch_windows: Annotated[int, Field(gt=0)] = 16
    """Windows of live streams in one batch, for which a short clip may have to wait."""
    live_max_s: Annotated[float, Field(gt=0)] = 3600.0
    """Longest live stream, in seconds; its features are kept until its summary."""
    live_idle_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds without a new window after which a live stream is closed."""
    live_resume_s: Annotated[float, Field(ge=0)] = 60.0
    """Seconds that a live stream waits for its dropped connection to be opened again."""
    live_ahead_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that a live stream may be sent ahead of its own times; then it is slowed down."""
    live_message_mb: Annotated[float, Field(ge=1)] = 8.0
    """Largest picture of a live stream, in MiB; pieces of a container have at most 1."""
    live_send_s: Annotated[float, Field(gt=0)] = 10.0
    """Longest time that a live stream's client may leave a message unread, in seconds."""
    live_ping_s: Annotated[float, Field(gt=0)] = 20.0
    """Seconds between pings of a live stream's connection, and for the answer to one."""

    @property
    def live_message_bytes(self) -> int:
        """Largest message of a live stream."""
        return int(self.live_message_mb * 2**20) + 8  # a picture's time stands before it
