"""`strongroom volume check` and `salvage`: of volumes in use, at rest and damaged, with and without a server."""

import json
import pathlib
import socket

from harness import clients, clusters, trail, waiting
from harness.program import ACCOUNT


def _check(server, *arguments, status):
    done = server.run("volume", "check", *arguments, "--output", "json", check=False)
    assert done.returncode == status, f"{done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout) if done.stdout else done.stderr


def _flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def _decrypts(principal):
    return len(trail.named(principal, "Decrypt"))


def _decrypts_in(home):
    """The same from the trail's own files, while no server runs."""
    return sum(path.read_bytes().count(b'"eventName":"Decrypt"') for path in pathlib.Path(home, "trail").rglob("*")
               if path.is_file())


def test_a_volume_is_checked_in_use_at_rest_and_without_a_server_and_salvaged(own_server, own_root, answers, name,
                                                                             tmp_path):
    server, root = own_server, own_root
    key = root.kms.create_key()["KeyMetadata"]
    cluster = clusters.running(root, name, KmsKeyId=key["Arn"])
    cluster.execute("create table kept as select n, md5(n::text) as text from generate_series(1, 20000) n")
    expected = cluster.execute("select count(*), md5(string_agg(text, '' order by n)) from kept")
    clusters.snapshot(root, name, f"{name}-kept")

    in_use = _check(server, name, status=0)
    assert in_use["inUse"] and in_use["blocks"] > 100 and in_use["damage"] == 0 and not in_use["findings"]
    used = server.run("volume", "salvage", name, "--into", str(tmp_path / "in-use"), check=False)
    assert used.returncode == 2 and "stop its cluster first" in used.stderr

    before = _decrypts(root)
    snapshot = _check(server, f"{name}-kept", status=0)
    assert not snapshot["inUse"] and snapshot["blocks"] > 100 and not snapshot["findings"]
    waiting.until(lambda: _decrypts(root) > before, "the use of the key to be on the record")
    unknown = server.run("volume", "check", "nothing-like-this", check=False)
    assert unknown.returncode == 64 and "nothing named nothing-like-this" in unknown.stderr

    root.rds.stop_db_cluster(DBClusterIdentifier=name)
    cluster.wait("stopped")
    at_rest = _check(server, name, status=0)
    assert not at_rest["inUse"] and at_rest["blocks"] > 100 and not at_rest["findings"]
    root.kms.disable_key(KeyId=key["KeyId"])
    refused = server.run("volume", "check", f"{name}-kept", check=False)
    assert refused.returncode == 2 and "Disabled" in refused.stderr
    root.kms.enable_key(KeyId=key["KeyId"])

    directory = pathlib.Path(at_rest["directory"])
    server.stop()
    place, damaged = _spoil(server, name, directory)
    finding = damaged["findings"][0]
    assert damaged["damage"] >= 1 and finding["damage"] and finding["segment"] == int(place[0].name)

    into = tmp_path / "salvaged"
    salvaged = server.run("volume", "salvage", name, "--into", str(into), "--output", "json", check=False)
    assert salvaged.returncode == 1, salvaged.stderr
    report = json.loads(salvaged.stdout)
    assert report == json.loads(pathlib.Path(f"{into}.report.json").read_text())
    assert report["endOfLog"] == "reached" and report["blocksCopied"] >= at_rest["blocks"] - 256
    assert report["missing"] or report["unknown"] or report["perhapsOld"]
    _check(server, "--dir", str(into), status=0)

    # With the byte as it was, everything is saved.
    _flip(*place)
    whole = tmp_path / "whole"
    told = server.run("volume", "salvage", name, "--into", str(whole)).stdout
    assert f"{at_rest['blocks']} blocks copied\n0 missing\n" in told and told.endswith("the log reaches its end\n")

    # A salvaged volume takes the place of the damaged one, and the database finds its data.
    directory.rename(tmp_path / "damaged")
    whole.rename(directory)
    before = _decrypts_in(server.home)
    server.serve()
    again = clients.root_of(server, answers, ACCOUNT)
    assert before >= 6, "uses of the key without a server are on the record"
    # It is not the volume that the server knows, so an operator has to say that it is wanted.
    server.run("volume", "accept", name, "--reason", "salvaged")
    again.rds.start_db_cluster(DBClusterIdentifier=name)
    cluster = clusters.Cluster(again, name, cluster.instance).wait()
    assert cluster.execute("select count(*), md5(string_agg(text, '' order by n)) from kept") == expected


def _spoil(server, name, directory):
    """Flips a byte that matters; where, and what the check says."""
    for segment in sorted((directory / "segments").glob("0*")):
        for page in range(1, segment.stat().st_size // 4096):
            place = (segment, page * 4096 + 100)
            _flip(*place)
            found = server.run("volume", "check", name, "--output", "json", check=False)
            if found.returncode == 1:
                return place, json.loads(found.stdout)
            _flip(*place)
    raise AssertionError("nothing in the volume matters")


def test_a_command_that_has_a_key_ends_when_access_to_it_is_lost(own_server, own_root, name):
    key = own_root.kms.create_key()["KeyMetadata"]
    clusters.create_cluster(own_root, name, KmsKeyId=key["Arn"])
    waiting.until(lambda: clusters.describe(own_root, name)["Status"] == "available", "the cluster")
    arn = clusters.describe(own_root, name)["DBClusterArn"]
    with socket.socket(socket.AF_UNIX) as command:
        command.settimeout(30)
        command.connect(str(own_server.home / "run" / "admin"))
        command.sendall(json.dumps({"order": "open", "arn": arn}).encode() + b"\n")
        with command.makefile("rb") as answer:
            assert json.loads(answer.readline())["volumes"][0]["arn"] == arn
            assert len(answer.read(1 + 32)) == 1 + 32
            own_root.kms.update_key_description(KeyId=key["KeyId"], Description="still enabled")
            own_root.kms.disable_key(KeyId=key["KeyId"])
            assert answer.read() == b""
