"""The command line: init, serve, env, account, stop, and what they refuse."""

import http.client
import subprocess
import urllib.request

import boto3
import pytest

from harness import clients, leftovers, program


@pytest.fixture
def home():
    """A server that is made and not started."""
    made = program.Server()
    yield made
    made.close()


def _serve_fails(server):
    done = server.run("serve", check=False)
    assert done.returncode != 0 and done.stderr.strip(), done
    return done.stderr


def _content(home):
    return {path: path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file() and path.name != "serve.lock"}


def test_init_makes_a_home_once(home):
    before = _content(home.home)
    done = home.run("init", check=False)
    assert done.returncode != 0 and "home already" in done.stderr
    assert _content(home.home) == before
    assert home.credentials() == (program.ACCESS_KEY, program.SECRET_KEY)


def test_init_without_arguments_makes_good_names(home):
    other = home.home / "other"
    done = home.run("init", "--home", str(other))
    assert (other / "root.key").exists() and (other / "credentials").stat().st_mode & 0o777 == 0o600
    secret = (other / "credentials").read_text().split("aws_secret_access_key = ")[1].split()[0]
    assert len(secret) == 40 and secret not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [
    ["--account-id", "12"], ["--account-id", "abcdefghijkl"], ["--access-key-id", "AKIAE2EROOTE2EROOT01"],
    ["--listen", "nowhere"], ["--region", "Mars!"]])
def test_init_refuses_bad_arguments_and_makes_nothing(home, arguments):
    other = home.home / "other"
    done = home.run("init", "--home", str(other), *arguments, check=False)
    assert done.returncode != 0 and not other.exists()


def test_a_wrong_root_key_stops_the_start_and_changes_nothing(home):
    home.serve().stop()
    key = home.home / "root.key"
    good = key.read_bytes()
    other = home.home / "other"
    home.run("init", "--home", str(other))
    for wrong in ((other / "root.key").read_bytes(), b"", good[:-3], b"\0" * 500):
        key.write_bytes(wrong)
        before = _content(home.home)
        _serve_fails(home)
        assert _content(home.home) == before
    key.unlink()
    assert "root.key" in _serve_fails(home) and not key.exists()
    key.write_bytes(good)
    key.chmod(0o600)
    home.serve()


def test_a_passphrase_opens_the_root_key_and_a_wrong_one_does_not(tmp_path, answers):
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse battery staple\n")
    wrong.write_text("correct horse battery stable\n")
    server = program.Server(init=["--passphrase-file", str(right)])
    try:
        server.serve()
        root = clients.root_of(server, answers, program.ACCOUNT)
        key = root.kms.create_key()["KeyMetadata"]["KeyId"]
        blob = root.kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        server.stop()
        text = right.read_text()
        right.write_text(wrong.read_text())
        _serve_fails(server)
        right.write_text(text)
        server.serve()
        assert root.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    finally:
        server.close()


def test_one_home_has_one_server(home):
    home.serve()
    assert "runs on" in _serve_fails(home)


def test_bad_settings_name_their_key(home):
    path = home.home / "config.toml"
    good = path.read_text()
    for line, key in (('listen = "nowhere"', "listen"), ("nonsense = 1", "nonsense")):
        path.write_text(line + "\n")
        done = home.run("serve", check=False)
        assert done.returncode == 64 and key in done.stderr
    path.write_text(good.replace(f"127.0.0.1:{home.first_port}", f"0.0.0.0:{home.first_port}"))
    assert "tls" in _serve_fails(home).lower(), "no plain HTTP but on loopback"
    path.write_text(good)


def test_env_points_clients_at_the_server(home):
    home.serve()
    asks = "sts get-caller-identity --query Account --output text"
    script = f'eval "$({program.BINARY} env)" && {clients.aws_program()} {asks}'
    done = subprocess.run(["bash", "-c", script], env=home.environment(), text=True, capture_output=True, timeout=60)
    assert done.stdout.strip() == program.ACCOUNT, done.stderr
    assert program.SECRET_KEY not in home.run("env").stdout


def test_a_second_account_is_made_while_the_server_runs(server, foreign_root):
    identity = foreign_root.sts.get_caller_identity()
    assert identity["Account"] == foreign_root.account != program.ACCOUNT
    assert identity["Arn"] == f"arn:aws:iam::{foreign_root.account}:root"


def test_stop_ends_the_server_and_its_port(home):
    home.serve()
    assert leftovers.listening_ports(home.first_port, home.first_port)
    home.run("stop")
    assert home.process.wait(timeout=10) == 0
    home.process = None
    assert not leftovers.listening_ports(home.first_port, home.first_port)


def test_no_secret_is_on_a_command_line_or_in_an_environment(server, orders):
    for pid in leftovers.processes_of(server.home):
        seen = " ".join(leftovers.command_line(pid))
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                seen += file.read().decode(errors="replace")
        except OSError:
            pass
        assert program.SECRET_KEY not in seen and "Ocean-Drift" not in seen


def test_health_and_metrics_are_served_without_a_signature(server, root):
    with urllib.request.urlopen(server.url + "/healthz") as answer:
        assert answer.status == 200
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        text = answer.read().decode()
    assert text.rstrip().endswith("# EOF") and root.access_key not in text


def test_beyond_loopback_everything_is_behind_tls(answers):
    server = program.Server(init=["--listen", "0.0.0.0:7800"], scheme="https").serve()
    try:
        session = boto3.session.Session()
        client = session.client("sts", region_name=program.REGION, endpoint_url=server.url, verify=server.authority(),
                                aws_access_key_id=program.ACCESS_KEY, aws_secret_access_key=program.SECRET_KEY)
        answers.watch(client)
        assert client.get_caller_identity()["Account"] == program.ACCOUNT
        with pytest.raises((OSError, http.client.HTTPException)):
            urllib.request.urlopen(server.url.replace("https", "http") + "/healthz", timeout=5)
    finally:
        server.close()
