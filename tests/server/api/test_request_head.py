import pytest

from server.api.request_head import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_PARAMETERS,
    MAX_TARGET_BYTES,
    host_name,
)
from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip


@pytest.mark.parametrize("keys", [{}, {"api_key": "sesame"}], ids=["open", "locked"])
def test_headers_without_end_are_refused_before_the_key_is_looked_at(serve, keys):
    served = serve(**keys)
    for headers in (
        {f"x-{n}": "1" for n in range(MAX_HEADERS)},
        {"x-long": "a" * MAX_HEADER_BYTES},
        {"a" * MAX_HEADER_BYTES: "1"},
    ):
        for path in ("/v1/limits", "/livez", "/v1/nothing"):
            refused = served.http.get(path, headers=headers)
            assert_problem(refused, 431, "headers-too-large")
    ordinary = {f"x-{n}": "a" * 300 for n in range(MAX_HEADERS - 8)}
    assert served.http.get("/livez", headers=ordinary).status_code == 200


def test_a_path_or_query_without_end_is_refused(served):
    for path in (
        "/v1/" + "a" * MAX_TARGET_BYTES,
        "/v1/jobs?cursor=" + "a" * MAX_TARGET_BYTES,
        "/v1/jobs?" + "a&" * MAX_PARAMETERS,
    ):
        assert_problem(served.http.get(path), 414, "uri-too-long")


def test_a_query_of_many_parameters_gets_a_short_answer(served):
    query = "&".join(f"k{n}=1" for n in range(MAX_PARAMETERS - 1))
    asked = {"content": clip(), "headers": {"content-type": "video/mp4"}}
    problem = assert_problem(
        served.http.post(f"/v1/predictions?{query}", **asked), 422, "invalid-field"
    )
    assert len(problem["errors"]) == 20


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Api.Example.org:8080", "api.example.org"),
        ("localhost.", "localhost"),
        ("[::1]:8080", "::1"),
        ("[::1", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("", ""),
    ],
)
def test_the_name_of_a_host_is_without_port_and_case(host, name):
    assert host_name(host) == name


LOOPBACK = ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.8.9.1", "[::1]:80", "app.localhost"]
FOREIGN = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "*"]


def status(served, host, path="/v1/jobs"):
    return served.http.get(path, headers={"host": host}).status_code


def test_without_keys_only_names_of_this_machine_are_answered(serve):
    served = serve(allowed_hosts=None)
    assert {status(served, host) for host in LOOPBACK} == {200}
    for host in FOREIGN:
        for path in ("/v1/jobs", "/", "/docs", "/metrics", "/nothing"):
            refused = served.http.get(path, headers={"host": host})
            assert_problem(refused, 421, "wrong-host")
    assert status(served, "10.0.0.1:8080", "/livez") == 200
    assert status(served, "10.0.0.1:8080", "/readyz") == 200


def test_hosts_of_the_setting_are_answered_too(serve):
    served = serve(allowed_hosts="api.example.org, *.lab.example")
    for host in ("api.example.org", "a.lab.example:80", "a.b.lab.example", "localhost"):
        assert status(served, host) == 200
    for host in ("example.org", "lab.example", "xlab.example", "evil.example"):
        assert status(served, host) == 421


def test_with_keys_any_name_is_answered_unless_some_are_listed(serve):
    key = {"x-api-key": "sesame"}
    served = serve(allowed_hosts=None, api_key="sesame")
    assert served.http.get("/v1/jobs", headers={"host": "a.example", **key}).status_code == 200


def test_with_keys_a_list_of_names_is_kept_to(serve):
    key = {"x-api-key": "sesame"}
    served = serve(allowed_hosts="b.example", api_key="sesame")
    assert served.http.get("/v1/jobs", headers={"host": "a.example", **key}).status_code == 421


def test_beyond_loopback_addresses_are_answered_and_names_are_not(serve):
    served = serve(allowed_hosts=None, host="0.0.0.0", insecure_no_auth=True)
    assert status(served, "192.168.7.7:8080") == 200
    assert status(served, "evil.example") == 421


def test_the_bound_name_is_answered(serve):
    served = serve(allowed_hosts=None, host="box.example", insecure_no_auth=True)
    assert status(served, "box.example:8080") == 200
    assert status(served, "10.0.0.1") == 421


CHANGING = ["/v1/predictions", "/v1/features", "/v1/backpack/search", "/v2/models/fake/infer"]


def post(served, path="/v1/predictions", **headers):
    sent = {"content-type": "video/mp4", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return served.http.post(path, content=clip(), headers={"host": "localhost:8080", **sent})


FOREIGN_PAGES = [
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "same-site", "origin": "http://localhost:3000"},
    {"origin": "https://evil.example"},
    {"origin": "http://localhost:3000"},
    {"origin": "null"},
    {"origin": "http://localhost:8080.evil.example"},
    {"origin": ""},
]
OWN_PAGES = [
    {},  # no browser
    {"sec_fetch_site": "same-origin", "origin": "http://localhost:8080"},
    {"sec_fetch_site": "none"},
    {"origin": "http://LOCALHOST:8080"},
]


def test_a_page_of_another_site_changes_nothing(served):
    for headers in FOREIGN_PAGES:
        for path in (*CHANGING, f"/v1/jobs/{'0' * 32}/cancel"):
            assert post(served, path, **headers).status_code == 403, (path, headers)
        assert_problem(post(served, **headers), 403, "cross-site")
    assert served.pool.decoded == 0


def test_the_own_page_and_clients_that_are_no_browsers_are_answered(served):
    for headers in OWN_PAGES:
        assert post(served, **headers).status_code == 200, headers


def test_the_own_page_behind_a_proxy_is_known_by_the_setting(serve):
    served = serve(allowed_hosts="api.example.org,localhost")
    assert post(served, origin="https://api.example.org").status_code == 200
    assert post(served, origin="https://evil.example").status_code == 403


def test_reading_is_left_to_the_browser(served):
    headers = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    answer = served.http.get("/v1/limits", headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
