"""Model repositories on a hub as folders: read at one commit, written by one commit.

The only importer of huggingface_hub, whose environment variables hold: HF_ENDPOINT is the hub's
address, HF_TOKEN the access token, and with HF_HUB_OFFLINE nothing is asked.
"""

import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from weights.errors import BundleMissing, RemoteFailed, RemoteMissing
from weights.storage.remote import FileFacts, describe_error, version_of, without_secrets

logger = logging.getLogger(__name__)

SCHEME = "hf://"
EXPECTED = "hf://OWNER/NAME or hf://OWNER/NAME@REVISION, a model repository on a hub"
_NAME = r"\w[\w.-]*"
ADDRESS = re.compile(
    rf"{SCHEME}(?P<repository>{_NAME}/{_NAME})(?:@(?P<revision>{_NAME}(?:/{_NAME})*))?"
)
EXTRA = 'pip install "egopack-server[hub]"'
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class _Commit:
    """Hash of a commit, and name -> metadata of its files."""

    sha: str
    files: dict[str, FileFacts]


class HubFolder:
    """A model repository at a branch, a tag or a commit; by default at its main branch.

    The revision is looked up once, at the first access, so that all files are of one commit.
    """

    def __init__(self, url: str) -> None:
        address = ADDRESS.fullmatch(url)
        if address is None:
            raise ValueError(f"{url}: expected {EXPECTED}")
        self.url = url
        self.repository: str = address["repository"]
        self.revision: str | None = address["revision"]
        self._found: _Commit | None = None

    @property
    def name(self) -> str:
        return self.repository.rpartition("/")[2]

    def facts(self, name: str) -> FileFacts | None:
        return self._commit().files.get(name)

    def files(self) -> list[str]:
        return [name for name in self._commit().files if "/" not in name]

    def read(self, name: str) -> bytes:
        with TemporaryDirectory() as folder:
            return self._download(name, Path(folder)).read_bytes()

    def fetch(self, name: str, path: Path) -> None:
        # Its name is always the same, so what a killed download has left goes with the next one.
        folder = path.with_name(f"{path.name}.download")
        try:
            os.replace(self._download(name, folder), path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def write(self, name: str, data: bytes) -> None:
        self.create()
        self.commit({name: data}, message=f"Write {name}")

    def sweep(self, names: Collection[str]) -> None:
        pass  # an interrupted write leaves no file

    def create(self, *, private: bool = False) -> None:
        """Makes the repository, and the branch that the address names, unless they exist.

        Raises:
            RemoteFailed: the address names a commit; or the repository should be private, and
                is there and public.
        """
        if _COMMIT.fullmatch(self.revision or ""):
            raise RemoteFailed(f"{self.url}: a commit cannot be written to; name a branch, or none")
        with _translated(self.url):
            api = _api()
            api.create_repo(self.repository, private=private or None, exist_ok=True)
            if private and not api.model_info(self.repository).private:
                raise RemoteFailed(
                    f"{self.url}: nothing was written: it should be private, and is there already "
                    "as a public repository; make that one private, or name another"
                )
            if self.revision and not self.revision.startswith("refs/"):
                api.create_branch(self.repository, branch=self.revision, exist_ok=True)

    def commit(
        self, files: Mapping[str, bytes], *, message: str, removed: Collection[str] = ()
    ) -> str:
        """Writes files and removes others in one commit; returns its hash."""
        with _translated(self.url):
            from huggingface_hub import CommitOperationAdd, CommitOperationDelete

            operations = [
                *(CommitOperationAdd(name, data) for name, data in files.items()),
                *(CommitOperationDelete(name) for name in removed),
            ]
            done = _api().create_commit(
                self.repository, operations, commit_message=message, revision=self.revision
            )
        self._found = None
        return str(done.oid)

    def _commit(self) -> _Commit:
        if self._found is None:
            with _translated(self.url):
                info = _api().model_info(
                    self.repository, revision=self.revision, files_metadata=True
                )
            facts = [
                FileFacts(f.rfilename, f.size or 0, version_of(str(f.blob_id).encode()))
                for f in info.siblings or ()
            ]
            self._found = _Commit(str(info.sha), {file.name: file for file in facts})
            logger.info("%s is at commit %s", self.url, info.sha)
        return self._found

    def _download(self, name: str, folder: Path) -> Path:
        """Downloads a file into a folder; returns its path there."""
        commit = self._commit()
        if name not in commit.files:
            raise RemoteMissing(f"{self.url}/{name}: there is no such file")
        with _translated(f"{self.url}/{name}"):
            return Path(
                _api().hf_hub_download(self.repository, name, revision=commit.sha, local_dir=folder)
            )


def cached_snapshot(
    repository: str, revision: str | None, wanted: Collection[str], *, unwanted: Collection[str]
) -> Path:
    """Returns the folder of a repository's files in the library's own cache, at one commit.

    The folder is called as the commit. Files that are there already are not downloaded again.

    Args:
        repository: OWNER/NAME.
        revision: a branch, tag or commit; None: the main branch.
        wanted: patterns of the files' names.
        unwanted: patterns of those that are left out.

    Raises:
        BundleMissing: there is no such repository or revision, or it is not shown.
        RemoteFailed: the hub cannot be asked, and the cache does not have it.
    """
    where = f"{SCHEME}{repository}{f'@{revision}' if revision else ''}"
    with _translated(where):
        from huggingface_hub import errors, snapshot_download

        try:
            found = snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(wanted),
                ignore_patterns=list(unwanted),
                library_name="egopack-server",
            )
        except errors.LocalEntryNotFoundError:
            raise RemoteFailed(
                f"{where}: not in the cache, and the hub is not reachable (HF_HUB_OFFLINE may be "
                "set); name a folder that holds it, or a mirror in HF_ENDPOINT"
            ) from None
    return Path(found)


def front_matter(values: Mapping[str, Any]) -> str:
    """Returns the head of a model card, in YAML, with the lines around it.

    Args:
        values: as `ModelCardData` of huggingface_hub takes them, `model-index` included.

    Raises:
        RemoteFailed: huggingface_hub is not installed, or does not take them.
    """
    with _translated("the model card"):
        from huggingface_hub import ModelCardData

        return f"---\n{ModelCardData(**values).to_yaml()}\n---\n"


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(library_name="egopack-server")


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """Translates exceptions of huggingface_hub, removing secrets from their messages."""
    try:
        yield
    except RemoteFailed:
        raise
    except ImportError as error:
        raise RemoteFailed(f"{where}: {error}; {EXTRA}") from None
    except Exception as error:  # of several HTTP libraries, without a common base
        # Not chained: a traceback would show the secrets.
        raise _translation(where, error) from None


def _translation(where: str, error: Exception) -> Exception:
    from huggingface_hub import errors, get_token

    endpoint = without_secrets(_api().endpoint)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return RemoteFailed(
            f"{where}: HF_HUB_OFFLINE is set, so only what was read before can be used"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return BundleMissing(
            f"{where}: the repository has no such revision: expected a branch, a tag or a commit"
        )
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.RepositoryNotFoundError) and status != 403:
        return BundleMissing(
            f"{where}: {endpoint} has no such model repository, or does not show it to you: check "
            "the name, and set HF_TOKEN if it is private"
        )
    if status in (401, 403):
        return RemoteFailed(
            f"{where}: {endpoint} refuses it ({status}): set HF_TOKEN to a token that may do this, "
            "and accept the repository's terms there if it has some"
        )
    message = " ".join(describe_error(error).split())
    token = get_token()
    return RemoteFailed(f"{where}: {message.replace(token, '…') if token else message}")
