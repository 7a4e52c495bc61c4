import json

import pytest

from weights.bundle import load_bundle
from weights.errors import BundleError, BundleMissing


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleMissing):
        load_bundle(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 99}'])
def test_a_broken_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(folder)


def test_a_file_outside_the_bundle_is_never_read(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"sha256": "0", "bytes": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder.parent / "secret").write_text("x")
    with pytest.raises(BundleError, match="no file"):
        load_bundle(folder)
