"""The Label Studio export and the machine learning backend, with a real Label Studio."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from clients.output import formats as exports
from clients.results.predictions import PredictionResult
from tests.ecosystem.foreign import environment, free_port, running
from tests.support import chromium

logger = logging.getLogger(__name__)

PACKAGES = ["label-studio>=1.23,<2"]
USER, PASSWORD, TOKEN = (
    "someone@example.org",
    "a-long-password-1",
    "0123456789abcdef" * 2 + "01234567",
)
SETTINGS = {
    "LABEL_STUDIO_USERNAME": USER,
    "LABEL_STUDIO_PASSWORD": PASSWORD,
    "LABEL_STUDIO_USER_TOKEN": TOKEN,
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",  # ours, to set things up; not the backend's
    "COLLECT_ANALYTICS": "false",
    "USE_DEFAULT_BANNED_SUBNETS": "false",  # or it does not talk to a backend on loopback
}

SKILL = "when"
TAUGHT = f"""
<View>
  <Video name="video" value="$video" frameRate="30"/>
  <TimelineLabels name="{SKILL}" toName="video">
    <Label value="early"/><Label value="late"/>
  </TimelineLabels>
</View>
"""


def check(work: Path, pictures: Path, clip: Path, result: PredictionResult, server: str) -> None:
    """Raises unless Label Studio takes, shows and asks for our predictions.

    Args:
        work: an empty folder.
        pictures: where to leave pictures of its pages.
        clip: that was answered.
        result: the answers.
        server: that gave them.
    """
    programs = environment(work / "venv", PACKAGES)
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [programs / "label-studio", "start", "--no-browser", "--port", str(port)]
    flags = ["--internal-host", "127.0.0.1", "--host", address]
    data = {"LABEL_STUDIO_BASE_DATA_DIR": str(work / "data")}
    with (
        running(
            [*command, *flags],
            home=work / "home",
            ready=f"{address}/health",
            variables={**SETTINGS, **data},
        ),
        httpx.Client(
            base_url=address,
            headers={"Authorization": f"Token {TOKEN}"},
            timeout=120,
            trust_env=False,
        ) as http,
    ):
        studio = Studio(http)
        project = studio.asked(
            "/projects/", title="clips", label_config=exports.label_studio_config(result)
        )["id"]
        uploaded = studio.upload(project, clip)
        imported = studio.import_predictions(project, result, uploaded["data"]["video"])
        logger.info("Label Studio takes the predictions as they are")
        studio.ask_backend(project, uploaded["id"], imported, server, work / "home")
        logger.info("Label Studio asks the backend, and gets the same")
        studio.teach_backend(clip, server, work / "home" / "taught")
        logger.info("Label Studio's annotations teach a skill, and it answers the next time")
        if chromium.is_here():
            page = f"{address}/projects/{project}/data?task={imported['id']}"
            _look(address, page, work / "profile", pictures, result)
            logger.info("Label Studio's timeline shows them at their frames")


class Studio:
    """Label Studio's API, as far as it is needed."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    @cached_property
    def personal_token(self) -> str:
        """A user's, of which there may be one."""
        token: str = self.asked("/token/")["token"]
        return token

    def asked(self, path: str, **body: Any) -> dict[str, Any]:
        """Returns the answer to a POST."""
        response = self._http.post(f"/api{path}", json=body)
        assert response.is_success, (path, response.status_code, response.text)
        return response.json() if response.content else {}

    def upload(self, project: int, clip: Path) -> dict[str, Any]:
        """Returns the task that a clip became."""
        with clip.open("rb") as video:
            self._http.post(
                f"/api/projects/{project}/import", files={"file": (clip.name, video, "video/mp4")}
            ).raise_for_status()
        (task,) = self._tasks(project)
        return task

    def import_predictions(
        self, project: int, result: PredictionResult, video: str
    ) -> dict[str, Any]:
        """Returns the task that our export became, having compared it with what was sent."""
        sent = exports.to_label_studio(result, video)
        response = self._http.post(f"/api/projects/{project}/import", json=sent)
        assert response.status_code == 201, response.text
        assert response.json()["prediction_count"] == 1, response.text
        task = max(self._tasks(project), key=lambda task: task["id"])
        assert task["predictions"][0]["result"] == sent[0]["predictions"][0]["result"]
        assert task["predictions"][0]["score"] == sent[0]["predictions"][0]["score"]
        return task

    def ask_backend(
        self, project: int, task: int, like: dict[str, Any], server: str, home: Path
    ) -> None:
        """Connects our backend, retrieves a task's predictions and compares them with another's."""
        with _backend(str(self._http.base_url), self.personal_token, server, home) as (url, log):
            made = self.asked("/ml/", url=url, project=project, title="EgoPack")
            assert made["state"] == "CO", made
            assert made["model_version"] == like["predictions"][0]["model_version"]
            versions = self._http.get(f"/api/ml/{made['id']}/versions").json()
            assert versions == {"versions": [made["model_version"]]}, versions
            self.asked(f"/ml/{made['id']}/train")
            action = f"/dm/actions/?id=retrieve_tasks_predictions&project={project}"
            self.asked(action, selectedItems={"all": False, "included": [task]})
            found = self._http.get("/api/predictions/", params={"task": task}).json()
            assert [one["result"] for one in found] == [like["predictions"][0]["result"]], found
            asked = log.read_text()
        for path in ("GET /health", "POST /setup", "GET /versions", "POST /predict"):
            assert f'"{path} HTTP/1.1" 200' in asked, asked
        assert '"POST /webhook HTTP/1.1" 201' in asked, asked

    def teach_backend(self, clip: Path, server: str, home: Path) -> None:
        """Annotates a clip, starts a training, and has the skill answer for the clip."""
        home.mkdir(parents=True)
        (home / "task.toml").write_text(f'name = "{SKILL}"\nkind = "segment"\nnodes = 3\n')
        project = self.asked("/projects/", title="taught", label_config=TAUGHT)["id"]
        task = self.upload(project, clip)["id"]
        regions = [
            {
                "id": f"r{first}",
                "from_name": SKILL,
                "to_name": "video",
                "type": "timelinelabels",
                "value": {
                    "ranges": [{"start": first, "end": first + 59}],
                    "timelinelabels": [label],
                },
            }
            for first, label in ((1, "early"), (61, "late"), (121, "early"), (181, "late"))
        ]
        self.asked(f"/tasks/{task}/annotations/", result=regions)
        flags = ("--teach", str(home / "task.toml"), "--project", str(project), "--task", SKILL)
        with (
            _backend(str(self._http.base_url), self.personal_token, server, home, *flags) as (
                url,
                log,
            ),
            httpx.Client(base_url=server, timeout=60, trust_env=False) as egopack,
        ):
            made = self.asked("/ml/", url=url, project=project, title="EgoPack")
            self.asked(f"/ml/{made['id']}/train")
            until_s = time.monotonic() + 120
            while not any(
                skill["name"] == SKILL and skill["active_version"]
                for skill in egopack.get("/v1/skills").json()["skills"]
            ):
                assert time.monotonic() < until_s, log.read_text()
                time.sleep(0.5)
            action = f"/dm/actions/?id=retrieve_tasks_predictions&project={project}"
            self.asked(action, selectedItems={"all": False, "included": [task]})
            (found,) = self._http.get("/api/predictions/", params={"task": task}).json()
        assert found["model_version"] != made["model_version"], found
        said = {one["value"]["timelinelabels"][0] for one in found["result"]}
        assert said, found
        assert said <= {"early", "late"}, found

    def _tasks(self, project: int) -> list[dict[str, Any]]:
        query = {"project": project, "fields": "all"}
        found: list[dict[str, Any]] = self._http.get("/api/tasks/", params=query).json()["tasks"]
        return found


@contextmanager
def _backend(
    studio: str, token: str, server: str, home: Path, *flags: str
) -> Iterator[tuple[str, Path]]:
    """Yields the address of our backend and the file that it says its requests in."""
    port = free_port()
    command = [sys.executable, "-m", "clients", "label-studio", studio, "--port", str(port), *flags]
    variables = {"LABEL_STUDIO_API_KEY": token, "EGOPACK_URL": server}
    url = f"http://127.0.0.1:{port}"
    with running(command, home=home / "backend", ready=f"{url}/health", variables=variables):
        yield url, home / "backend" / f"{Path(sys.executable).name}.log"


def _look(address: str, page: str, profile: Path, pictures: Path, result: PredictionResult) -> None:
    """Compares where the timeline draws regions with the frames they are at."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with chromium.opened(profile) as driver:
        wait = WebDriverWait(driver, 120)
        driver.get(f"{address}/user/login/")
        wait.until(lambda d: d.find_elements(By.NAME, "password"))
        driver.find_element(By.NAME, "email").send_keys(USER)
        driver.find_element(By.NAME, "password").send_keys(PASSWORD)
        driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        wait.until(lambda d: "login" not in d.current_url)
        driver.get(page)
        regions = exports.to_label_studio(result)[0]["predictions"][0]["result"]
        wait.until(lambda d: len(d.execute_script(DRAWN)) == len(regions))
        drawn = driver.execute_script(DRAWN)
        time.sleep(2)  # for the picture only
        driver.execute_script("document.querySelector('.lsf-timeline').scrollIntoView(false)")
        driver.save_screenshot(str(pictures / "label-studio.png"))
    expected = [
        [one["value"]["timelinelabels"][0], *one["value"]["ranges"][0].values()] for one in regions
    ]
    assert sorted(drawn) == sorted(expected), drawn


DRAWN = """
const frames = document.querySelector('.lsf-timeline-frames');
const size = frames ? parseFloat(frames.style.getPropertyValue('--frame-size')) : NaN;
return [...document.querySelectorAll('.lsf-keypoints')].flatMap((row) =>
  [...row.querySelectorAll('.lsf-keypoints__lifespan')].map(({style}) => {
    const first = (parseFloat(style.left) - size / 2) / size + 1;  // drawn from middle to middle
    return [row.querySelector('.lsf-keypoints__name').innerText, first,
            first + parseFloat(style.width) / size];
  }));
"""
"""Label, first and last frame of each bar of the timeline."""
