"""Servers, principals and clusters for the tests; every answer of every call is held to AWS's model."""

import pytest

from harness import clients, clusters, lossy, program
from harness.model import Answers

# Its test asks what all the others have called.
LAST = "test_every_served_operation_was_called"


def pytest_sessionstart(session):
    """Begins on a machine without what tests that were killed have left."""
    del session
    lossy.clear_leftovers()


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: item.name == LAST)
    config.all_tests = not (config.option.keyword or config.option.markexpr) and all(
        argument.endswith("e2e") for argument in map(str, config.args))


@pytest.fixture(scope="session")
def answers():
    return Answers()


@pytest.fixture(autouse=True)
def every_answer_fits_the_model(answers):
    """Fails the test in which an answer was not as the model has it."""
    answers.taken()
    yield
    wrong = answers.taken()
    assert not wrong, "answers that AWS's model does not allow:\n" + "\n".join(dict.fromkeys(wrong))


@pytest.fixture(scope="session")
def server():
    """The server that tests share which disturb nobody: they use names and keys of their own."""
    running = program.Server().serve()
    yield running
    running.close()


@pytest.fixture
def own_server():
    """A server for one test that stops, kills or floods it."""
    running = program.Server().serve()
    yield running
    running.close()


@pytest.fixture(scope="session")
def root(server, answers):
    """The administrator of the first account."""
    return clients.root_of(server, answers, program.ACCOUNT)


@pytest.fixture
def own_root(own_server, answers):
    """The administrator of the test's own server."""
    return clients.root_of(own_server, answers, program.ACCOUNT)


@pytest.fixture(scope="session")
def foreign_root(server, answers):
    """The administrator of a second account of the same server."""
    account, access_key, secret_key = server.create_account()
    return clients.Principal(server.url, answers, account, f"arn:aws:iam::{account}:root", access_key, secret_key)


@pytest.fixture
def name(request, _counter=[0]):
    """A name that no other test has."""
    _counter[0] += 1
    return f"e2e-{_counter[0]}"


@pytest.fixture
def user(root, name):
    """Makes an IAM user of the first account with the given statements."""
    made = []

    def make(*statements):
        made.append(name)
        return clients.user(root, f"{name}-user-{len(made)}", *statements)
    return make


@pytest.fixture
def key(root, name):
    """A customer managed key, enabled, with the default policy: its metadata."""
    return root.kms.create_key(Description=f"key of {name}")["KeyMetadata"]


@pytest.fixture(scope="session")
def orders_key(root):
    """The key of the shared cluster."""
    made = root.kms.create_key(Description="orders")["KeyMetadata"]
    root.kms.create_alias(AliasName="alias/orders", TargetKeyId=made["KeyId"])
    return made


@pytest.fixture(scope="session")
def dba(root):
    """A user who may do anything with databases, and with keys only what RDS needs for him, through RDS."""
    via_rds = {"StringEquals": {"kms:ViaService": f"rds.{program.REGION}.amazonaws.com"}}
    return clients.user(root, "dba", clients.allow("rds:*"),
                        clients.allow(["kms:CreateGrant", "kms:DescribeKey"], Condition=via_rds))


@pytest.fixture(scope="session")
def orders(dba, orders_key):
    """A running cluster under `orders_key`, made by `dba`, for tests that only read."""
    return clusters.running(dba, "orders", KmsKeyId="alias/orders", DatabaseName="orders")
