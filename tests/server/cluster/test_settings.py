import subprocess
import sys

import pytest
from pydantic import ValidationError

from server.settings.settings import Settings


def test_several_front_ends_need_a_database_that_can_be_shared(tmp_path):
    for address in (None, f"sqlite:///{tmp_path}/jobs"):
        with pytest.raises(ValidationError, match=r"EGOPACK_JOB_DATABASE.*postgresql"):
            Settings(ray=True, front_ends=2, job_database=address)
    shared = "postgresql://egopack:secret@db/jobs"
    assert Settings(ray=True, front_ends=2, job_database=shared).front_ends == 2
    assert Settings(ray=True, front_ends=1).front_ends == 1


def test_the_address_of_the_database_is_not_in_the_refusal(tmp_path):
    with pytest.raises(ValidationError) as refusal:
        Settings(ray=True, front_ends=2, job_database=f"sqlite:///{tmp_path}/secret")
    assert "secret" not in str(refusal.value)


def test_fewer_encoders_at_most_than_at_least_are_refused():
    with pytest.raises(ValidationError, match="max_encoders"):
        Settings(encoders=3, max_encoders=2)
    assert Settings(encoders=3).most_encoders == 3
    assert Settings(encoders=3, max_encoders=5).most_encoders == 5


def test_without_ray_the_command_says_what_to_install():
    """In a process of its own, where importing Ray fails."""
    code = """
import sys
sys.modules["ray"] = None
from server.__main__ import main
sys.exit(main(["--ray", "--port", "0"]))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    assert 'pip install "egopack-server[scale]"' in ran.stderr
