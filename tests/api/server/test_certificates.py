"""A changed certificate serves new handshakes, and open connections go on. A pair that does not fit changes nothing."""

import http.client
import os
import shutil
import signal
import ssl
import subprocess
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from limiter.api.command_errors import Misused
from limiter.api.server.certificates import Certificate, context_of
from support.certificates import make_pair
from support.servers.sidecar import sidecar
from support.waiting import eventually

CONFIG = "policies: {{ standard: {{ limits: [1000/minute] }} }}\nidentify: {{ anonymous: standard }}\nredis: {{ prefix: {prefix} }}\n"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Folders with a pair each: `one` and `two`."""
    folder = tmp_path_factory.mktemp("pairs")
    for name in ("one", "two"):
        make_pair(folder / name, name)
    return folder


class Watching:
    """A certificate in a folder, and the contexts for new handshakes."""

    def __init__(self, folder, pair) -> None:
        self.cert, self.key, self.contexts = folder / "cert.pem", folder / "key.pem", []
        shutil.copy(pair / "cert.pem", self.cert)
        shutil.copy(pair / "key.pem", self.key)
        self.certificate = Certificate(self.cert, self.key, self.contexts.append)

    def check(self, times) -> list[dict]:
        with capture_logs() as lines:
            for _ in range(times):
                self.certificate.check()
        return lines


@pytest.fixture
def watching(tmp_path, pairs):
    return Watching(tmp_path, pairs / "one")


def test_an_unchanged_pair_is_loaded_once(watching):
    watching.cert.touch()
    assert watching.check(20) == []
    assert len(watching.contexts) == 1


def test_a_changed_pair_is_loaded_when_two_checks_agree(watching, pairs):
    shutil.copy(pairs / "two/cert.pem", watching.cert)
    shutil.copy(pairs / "two/key.pem", watching.key)
    assert watching.check(1) == []
    (line,) = watching.check(20)
    assert len(watching.contexts) == 2
    command = ["openssl", "x509", "-fingerprint", "-sha256", "-noout", "-in", watching.cert]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert line["sha256"] == shown.stdout.partition("=")[2].strip().replace(":", "").lower()


def test_a_pair_of_which_half_is_written_is_tried_again_in_silence(watching, pairs):
    shutil.copy(pairs / "two/cert.pem", watching.cert)
    assert watching.check(4) == []
    shutil.copy(pairs / "two/key.pem", watching.key)
    (line,) = watching.check(20)
    assert (line["event"], len(watching.contexts)) == ("certificate reloaded", 2)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda watching, pairs: shutil.copy(pairs / "two/key.pem", watching.key), "must belong to the certificate"),
        (lambda watching, _: watching.cert.write_text("not a certificate"), "both must be PEM"),
        (lambda watching, _: watching.key.write_bytes(b"\x00\xff"), "both must be PEM"),
        (lambda watching, _: watching.cert.write_text(""), "both must be PEM"),
        (lambda watching, _: watching.key.unlink(), "key.pem cannot be used: No such file"),
    ],
)
def test_a_bad_pair_is_refused_once_and_the_next_good_one_is_loaded(watching, pairs, spoil, said):
    spoil(watching, pairs)
    (line,) = watching.check(30)
    assert line["event"] == "changed certificate rejected, the previous one stays in force"
    assert said in line["reason"]
    assert len(watching.contexts) == 1
    for name in ("cert.pem", "key.pem"):
        shutil.copy(pairs / "two" / name, watching.cert.with_name(name))
    assert [line["event"] for line in watching.check(20)] == ["certificate reloaded"]


def test_the_previous_pair_may_come_back(watching, pairs):
    watching.cert.write_text("not a certificate")
    watching.check(3)
    shutil.copy(pairs / "one/cert.pem", watching.cert)
    assert watching.check(20) == []


def test_a_reload_refuses_at_once(watching):
    watching.cert.write_text("not a certificate")
    with capture_logs() as lines:
        watching.certificate.reload()
    assert [line["event"] for line in lines] == ["changed certificate rejected, the previous one stays in force"]
    assert watching.check(20) == []


def test_an_encrypted_key_is_refused_instead_of_asking_for_its_password(tmp_path):
    cert, key = make_pair(tmp_path, "secret", "-passout", "pass:secret")
    with pytest.raises(Misused, match=r"key\.pem must not be encrypted: decrypt it"):
        context_of(cert, key)


def handshake(port):
    """The DER of the certificate that a new connection gets."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))


def test_all_workers_use_a_swapped_certificate_and_open_connections_go_on(tmp_path, pairs, server, prefix):
    """As cert-manager and Kubernetes do it: the files are links into `..data`, which is replaced by renaming. Takes two seconds."""
    mount = tmp_path / "mount"
    mount.mkdir()
    for name in ("one", "two"):
        shutil.copytree(pairs / name, mount / name)
    (mount / "..data").symlink_to("one")
    for name in ("cert.pem", "key.pem"):
        (mount / name).symlink_to(f"..data/{name}")
    ders = {name: ssl.PEM_cert_to_DER_cert((mount / name / "cert.pem").read_text()) for name in ("one", "two")}
    options = ["--workers", "2", "--tls-cert", str(mount / "cert.pem"), "--tls-key", str(mount / "key.pem")]
    context = ssl.create_default_context(cafile=str(mount / "one/cert.pem"))
    with (
        sidecar(tmp_path, CONFIG.format(prefix=prefix), *options, redis=server.url) as running,
        closing(http.client.HTTPSConnection("localhost", running.port, timeout=20, context=context)) as open_before,
    ):
        assert handshake(running.port) == ders["one"]
        open_before.request("GET", "/authorize")
        assert open_before.getresponse().read() is not None

        (mount / "..new").symlink_to("two")
        (mount / "..new").replace(mount / "..data")

        def reloaded():
            return [line["worker"] for line in running.log if line["event"] == "certificate reloaded"]

        assert sorted(eventually(lambda: len(reloaded()) == 2 and reloaded(), "both workers")) == [1, 2]
        assert {handshake(running.port) for _ in range(20)} == {ders["two"]}
        open_before.request("GET", "/authorize")
        assert open_before.getresponse().status == 200


def test_a_worker_that_cannot_start_is_tried_again_with_growing_pauses_and_the_log_says_why(tmp_path, pairs, server, prefix):
    """Takes about a second: the first pause is 0.5 s."""
    key = tmp_path / "key.pem"
    shutil.copy(pairs / "one/key.pem", key)
    options = ["--workers", "2", "--tls-cert", str(pairs / "one/cert.pem"), "--tls-key", str(key)]
    with sidecar(tmp_path, CONFIG.format(prefix=prefix), *options, redis=server.url) as running:
        key.unlink()
        os.kill(running.workers[0], signal.SIGKILL)

        def pauses():
            return [line["pause"] for line in running.log if line["event"] == "worker ended, restarting it"]

        eventually(lambda: len(pauses()) > 1, "two ends")
        shutil.copy(pairs / "one/key.pem", key)
        assert pauses()[:2] == [0.5, 1]
        (reason, *_) = [line["reason"] for line in running.log if line["event"] == "worker cannot start"]
        assert reason == f"{key} cannot be used: No such file or directory"
        assert handshake(running.port)
