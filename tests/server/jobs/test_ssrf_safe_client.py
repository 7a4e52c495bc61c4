"""The client that posts where callers say: never into our own network, whatever they try."""

import asyncio
import shutil
import ssl
import subprocess
import threading

import pytest

from server.jobs.ssrf_safe_client import DeliveryFailed, SsrfSafeClient, UrlRefused, is_public
from tests.server.jobs.support.receiver import receiving
from tests.support.waiting import PATIENCE_S

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.1",
    "192.88.99.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001::1", "fe80::1",
    "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1",
    "localhost", "not an address", "",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111",
          "::ffff:1.1.1.1"]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_seen_as_such(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_seen_as_such(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://user:secret@example.org/",
        "https://user@example.org/",
        "https://example.org/#fragment",
        "https:///path",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://exa mple.org/",
        "https://xn--/",
        "https://xn--a.example/",
        "https://xn--zz--zz/h",
        "//example.org",
        "example.org",
        "",
        "https://example.org/" + "x" * 2100,
        "https://example.org:99999/",
    ],
)
def test_a_url_that_can_be_refused_unseen_is(url):
    with pytest.raises(UrlRefused):
        SsrfSafeClient(timeout_s=1).check(url)


def test_an_ordinary_url_is_taken():
    url = SsrfSafeClient(timeout_s=1).check("https://hooks.example.org:8443/a?b=c")
    assert (url.host, url.port) == ("hooks.example.org", 8443)


def names(*rounds):
    """A resolver that says something else every time."""
    asked = []

    async def resolve(host, port):
        asked.append((host, port))
        return list(rounds[min(len(asked), len(rounds)) - 1])

    return resolve, asked


def post(client, url, body=b"{}", **headers):
    return asyncio.run(client.post(url, body, headers))


@pytest.mark.slow
@pytest.mark.parametrize("address", [a for a in PRIVATE if a[:1].isdigit() or ":" in a])
def test_a_name_with_an_address_of_ours_is_refused_even_among_public_ones(address):
    with receiving() as receiver:
        for addresses in ([address], ["1.1.1.1", address], [address, "1.1.1.1"]):
            resolve, _ = names(addresses)
            client = SsrfSafeClient(timeout_s=1, resolve=resolve)
            with pytest.raises(UrlRefused, match="not a public one"):
                post(client, f"https://hook.example:{receiver.port}/")
    assert receiver.received == []


def test_numbers_that_only_a_resolver_reads_as_loopback_are_refused():
    for host in ("127.1", "2130706433", "0x7f000001", "localhost"):
        with pytest.raises((UrlRefused, DeliveryFailed)) as caught:
            post(SsrfSafeClient(timeout_s=5), f"https://{host}:1/")
        assert "connection" not in str(caught.value)  # no connection was made


def test_a_name_is_resolved_once_and_the_address_that_was_checked_is_called():
    resolve, asked = names(["127.0.0.1"], ["127.9.9.9"])
    with receiving() as receiver:
        client = SsrfSafeClient(timeout_s=5, allow_http=True, allow_private=True, resolve=resolve)
        url = f"http://hook.example:{receiver.port}/a?b=c"
        assert post(client, url, b'{"x":1}', **{"Webhook-Id": "msg_1"}) == 204
    assert asked == [("hook.example", receiver.port)]
    [(path, headers, body)] = receiver.received
    assert (path, body) == ("/a?b=c", b'{"x":1}')
    assert headers["host"] == f"hook.example:{receiver.port}"
    assert headers["webhook-id"] == "msg_1"
    assert {"cookie", "authorization", "x-api-key"} & set(headers) == set()


def local(**options):
    return SsrfSafeClient(**{"timeout_s": 5, "allow_http": True, "allow_private": True} | options)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    def redirect(handler):
        handler.send_response(status)
        handler.send_header("location", f"http://127.0.0.1:{receiver.port}/internal")
        handler.send_header("content-length", "0")
        handler.end_headers()

    with receiving(redirect) as receiver:
        with pytest.raises(DeliveryFailed, match=str(status)):
            post(local(), f"http://127.0.0.1:{receiver.port}/")
        assert [path for path, _, _ in receiver.received] == ["/"]


def test_a_proxy_of_our_environment_is_not_asked(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with receiving() as receiver:
        assert post(local(), f"http://127.0.0.1:{receiver.port}/") == 204


def test_a_receiver_that_says_nothing_costs_the_deadline_and_no_more():
    given_up = threading.Event()
    with receiving(lambda handler: given_up.wait(PATIENCE_S)) as receiver:
        with pytest.raises(DeliveryFailed, match="no answer within 0.3 s"):
            post(local(timeout_s=0.3), f"http://127.0.0.1:{receiver.port}/")
        given_up.set()


def test_a_drip_of_bytes_does_not_stretch_the_deadline():
    def drip(handler):
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        while not given_up.wait(0.1):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    given_up = threading.Event()
    with receiving(drip) as receiver:
        with pytest.raises(DeliveryFailed):
            post(local(timeout_s=0.5), f"http://127.0.0.1:{receiver.port}/")
        given_up.set()


def test_an_endless_answer_is_cut():
    sent = [0]

    def flood(handler):
        handler.send_response(200)
        handler.end_headers()
        while sent[0] < 200 << 20:
            handler.wfile.write(b"x" * 65536)
            sent[0] += 65536

    with receiving(flood) as receiver:
        assert post(local(), f"http://127.0.0.1:{receiver.port}/") == 200
    assert sent[0] < 100 << 20


def test_errors_of_the_receiver_name_no_address():
    async def nowhere(host, port):
        raise OSError("no such name")

    for client, url in (
        (local(resolve=nowhere), "http://hook.example/"),
        (local(), "http://127.0.0.1:1/"),
    ):
        with pytest.raises(DeliveryFailed) as caught:
            post(client, url)
        assert "127.0.0.1" not in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
def test_certificates_are_checked_against_the_name_and_not_the_address(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    greeted = []
    serving.sni_callback = lambda _, name, __: greeted.append(name)
    trusting = ssl.create_default_context(cafile=certificate)
    resolve, _ = names(["127.0.0.1"])
    client = SsrfSafeClient(timeout_s=5, allow_private=True, resolve=resolve, verify=trusting)
    with receiving(context=serving) as receiver:
        assert post(client, f"https://hook.example:{receiver.port}/") == 204
        with pytest.raises(DeliveryFailed, match="no connection"):
            post(client, f"https://other.example:{receiver.port}/")
    assert greeted == ["hook.example", "other.example"]
