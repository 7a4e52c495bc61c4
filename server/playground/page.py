"""Routes of the playground: the page at `/`, its files and the sample clip below `/ui`."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from server.errors import NotFound

FOLDER = Path(__file__).parent / "static"
SAMPLE = Path(__file__).parents[2] / "clients" / "sample"
"""What `python -m clients demo` sends; absent where the server is installed alone."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Content security policy: the page loads its own files and the video that its user picked."""

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def get_page() -> FileResponse:
    """Returns the page."""
    return FileResponse(
        FOLDER / "index.html",
        headers={"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"},
    )


@router.api_route("/ui/sample.mp4", methods=["GET", "HEAD"])
async def get_sample() -> FileResponse:
    """Returns the sample clip."""
    return _sample("clip.mp4")


@router.api_route("/ui/sample.json", methods=["GET", "HEAD"])
async def get_truth() -> FileResponse:
    """Returns the ground truth of the sample clip."""
    return _sample("truth.json")


def install(app: FastAPI) -> None:
    """Adds the page and its files to the app."""
    app.include_router(router)
    app.mount("/ui", StaticFiles(directory=FOLDER), name="page")


def _sample(name: str) -> FileResponse:
    if not (SAMPLE / name).is_file():
        raise NotFound("no sample is installed")
    return FileResponse(SAMPLE / name)
