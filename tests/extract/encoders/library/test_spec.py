import pytest

from extract.encoders.library.spec import is_library_spec, parse_spec
from weights.published.encoders import ENCODERS


def test_a_published_name_stands_for_its_repository():
    for name, known in ENCODERS.items():
        assert is_library_spec(name)
        spec = parse_spec(f"{name}@v1.0")
        assert (spec.name, spec.library, spec.place) == (name, known.library, known.repository)
        assert (spec.revision, spec.licence) == ("v1.0", known.licence)
        assert parse_spec(known.source).place == spec.place


@pytest.mark.parametrize(
    ("text", "name", "place", "revision"),
    [
        ("hf:owner/name", "name", "owner/name", None),
        ("hf:owner/name@0123abc", "name", "owner/name", "0123abc"),
        ("timm:resnet50.a1_in1k", "resnet50.a1_in1k", "resnet50.a1_in1k", None),
    ],
)
def test_a_spec_has_a_place_and_a_revision(text, name, place, revision):
    assert is_library_spec(text)
    spec = parse_spec(text)
    assert (spec.name, spec.place, spec.revision) == (name, place, revision)
    assert (spec.layer, spec.pooling, spec.options) == ("last", None, {})


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my model, v2@home"
    folder.mkdir()
    for place in (str(folder), folder.name):
        spec = parse_spec(f"hf:{place},frame_step=4")
        assert (spec.name, spec.place, spec.revision) == (folder.name, place, None)
        assert spec.options == {"frame_step": 4}


def test_options_say_how_windows_are_made_and_what_of_the_model_is_used():
    spec = parse_spec("vjepa2-l@main,frame_step=1,stride_frames=16,layer=20,pooling=mean")
    assert spec.options == {"frame_step": 1, "stride_frames": 16}
    assert (spec.layer, spec.pooling, spec.revision) == (20, "mean", "main")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("vjepa2-l,frames=4", "'frames=4': expected fps, window_frames"),
        ("vjepa2-l,fps=0", "'fps=0': expected"),
        ("vjepa2-l,fps=29.97", "whole number"),
        ("vjepa2-l,layer=0", "layer with last or the number of a block from 1"),
        ("vjepa2-l,pooling=max", "pooling with pooled, mean, first"),
        ("siglip2-b,layer=3,pooling=pooled", "pooled is of the last layer"),
        ("hf:", "expected hf: and a folder or a repository"),
    ],
)
def test_a_malformed_spec_says_what_was_expected(text, why):
    with pytest.raises(ValueError, match=why):
        parse_spec(text)


@pytest.mark.parametrize(
    "text", ["omnivore-swinl", "work/bundle", "s3://bucket/hf", "hf://owner/name", "vjepa2"]
)
def test_other_specs_are_not_a_librarys(text):
    assert not is_library_spec(text)
