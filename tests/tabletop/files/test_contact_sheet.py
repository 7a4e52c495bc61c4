import pytest

from tabletop.files.contact_sheet import write_sheet


@pytest.mark.slow
def test_a_sheet_shows_one_row_per_verb(tiny_world, tmp_path):
    write_sheet(tiny_world, tmp_path / "sheet.jpg")
    assert 5_000 < (tmp_path / "sheet.jpg").stat().st_size < 400_000
