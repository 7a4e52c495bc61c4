import pytest

from server.errors import JobsUnavailable
from server.jobs.database import Database
from server.jobs.store import JobStore


def test_a_database_that_is_not_there_says_so(tmp_path):
    for url in (f"sqlite:///{tmp_path}/no/folder/db", "postgresql://x@/x?host=/no/such/folder"):
        database = Database(url)
        with pytest.raises(JobsUnavailable):
            JobStore(database).get("x")
        database.close()


@pytest.mark.parametrize("url", ["mysql://host/x", "nonsense", "", "sqlite+nothing:///x"])
def test_other_addresses_are_refused(url):
    with pytest.raises(ValueError, match="address of jobs"):
        Database(url)
