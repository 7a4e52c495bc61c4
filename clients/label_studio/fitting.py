"""Training from Label Studio: a project's annotations teach a skill, which is then served.

Label Studio says when (*Start Training*, or every so many annotations); annotations and clips come
from its API, with the token of the backend, whatever the message says. One training runs at a time;
messages that come meanwhile make one more, of what is annotated then.
"""

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clients.client import EgoPackClient
from clients.errors import ClientError
from clients.label_studio.clips import Clips
from clients.label_studio.interface import Interface
from clients.results.skills import Report

logger = logging.getLogger(__name__)

START = "START_TRAINING"
ANNOTATED = frozenset(
    {"ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"}
)
"""Actions of Label Studio's webhooks."""

_PROJECT = re.compile(r"([0-9]{1,18})(\.[0-9]+)?")


@dataclass(frozen=True)
class FitChoices:
    """What is taught, and when.

    Attributes:
        task: keys of the task file.
        threshold: least probability of an answer that is certain.
        project: the only project that may teach it; None: any that the token sees.
        after: changes of annotations that start a training; None: they start none.
    """

    task: Mapping[str, Any]
    threshold: float | None = None
    project: int | None = None
    after: int | None = None


class Fitting:
    """Teaches a skill in a thread of its own; use it as a context manager, or close it."""

    def __init__(self, client: EgoPackClient, clips: Clips, choices: FitChoices) -> None:
        """Starts nothing yet.

        Args:
            client: of the server that is taught.
            clips: fetches annotations and clips.
            choices: what is taught, and when.
        """
        self._client, self._clips, self._choices = client, clips, choices
        self._changed = threading.Condition()
        self._wanted: int | None = None  # project whose training is to begin
        self._is_fitting = self._is_closed = False
        self._changes = 0  # of annotations since the last training
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Fitting":
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for the training that runs, if one does; those that wait are left."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def notice(self, message: Mapping[str, Any]) -> str:
        """Takes a message of Label Studio; returns what comes of it, for its answer.

        Raises:
            ValueError: it names no project, or one that may not teach.
        """
        action, project = message.get("action"), _project(message)
        if self._choices.project not in (None, project):
            raise ValueError(f"project {project} does not teach here: --project names another")
        with self._changed:
            if action in ANNOTATED and self._choices.after is not None:
                self._changes += 1
                if self._changes < self._choices.after:
                    return f"{self._changes} of {self._choices.after} changes"
            elif action != START:
                return "nothing to do"
            self._changes, self._wanted = 0, project
            self._changed.notify_all()
            return "waiting for the training that runs" if self._is_fitting else "training"

    def wait(self, timeout_s: float) -> bool:
        """Returns whether no training runs or waits, at the latest after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._wanted is None and not self._is_fitting, timeout_s
            )

    def fit(self, project: int) -> Report:
        """Teaches the skill from what is annotated in a project, and serves it.

        Raises:
            ValueError: the project has no such annotations.
            OSError: Label Studio does not give them, or a clip.
            ClientError: the server refuses, or failed.
        """
        interface = Interface.from_config(
            str(self._clips.json(f"api/projects/{project}/")["label_config"])
        )
        labels, addresses = [], {}
        for task in self._clips.json(f"api/projects/{project}/export?exportType=JSON"):
            name = f"label-studio-{project}-{task['id']}"
            for start_s, end_s, label in interface.stretches(task):
                row = {"video": name, "start_s": start_s, "end_s": end_s, "label": label}
                labels.append(row)
                addresses[name] = str(task["data"][interface.key])
        if not labels:
            raise ValueError(f"project {project} has no annotations of {interface.control} yet")
        kept = {clip.name for clip in self._client.clips()}
        for name in addresses.keys() - kept:
            with self._clips.fetched(addresses[name]) as path:
                self._client.keep_clip(name, path)
        return self._client.teach(
            self._choices.task, labels, activate=True, threshold=self._choices.threshold
        )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._is_closed)
                if self._is_closed or self._wanted is None:
                    return
                project, self._wanted, self._is_fitting = self._wanted, None, True
            try:
                report = self.fit(project)
                logger.info("%s, version %d: %s", report.name, report.version, report.words)
            except ClientError as error:
                details = "".join(f"; {place}: {text}" for place, text in error.errors)
                logger.warning("project %d: not learnt: %s%s", project, error, details)
            except (KeyError, OSError, TypeError, ValueError) as error:
                logger.warning("project %d: not learnt: %s", project, error)
            finally:
                with self._changed:
                    self._is_fitting = False
                    self._changed.notify_all()


def _project(message: Mapping[str, Any]) -> int:
    """The id of the project that a message is about; `/train` gets it with a time, as in 7.17."""
    found = message.get("project")
    project = found.get("id") if isinstance(found, dict) else found
    known = _PROJECT.fullmatch(str(project))
    if known is None:
        raise ValueError(f"the message names no project, but {found!r:.80}")
    return int(known[1])
