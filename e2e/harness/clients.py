"""Clients of AWS: boto3 for a principal, and the stock command line."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import boto3
import botocore
import botocore.config

from .program import REGION

# No retries: a test sees the first answer. No checks on this side: the server is to make them.
_CONFIG = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=60, parameter_validation=False)


class Principal:
    """Credentials and what they are for; clients are made when first used."""

    def __init__(self, url, answers, account, arn, access_key, secret_key, token=None):
        self.url, self.answers = url, answers
        self.account, self.arn = account, arn
        self.access_key, self.secret_key, self.token = access_key, secret_key, token
        self._clients = {}

    def client(self, service, region=REGION):
        if (service, region) not in self._clients:
            # A session of its own each: nothing of the machine's settings reaches it.
            made = boto3.session.Session().client(
                service, region_name=region, endpoint_url=self.url, aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key, aws_session_token=self.token, config=_CONFIG)
            self.answers.watch(made)
            self._clients[service, region] = made
        return self._clients[service, region]

    @property
    def kms(self):
        return self.client("kms")

    @property
    def rds(self):
        return self.client("rds")

    @property
    def iam(self):
        return self.client("iam")

    @property
    def sts(self):
        return self.client("sts")

    @property
    def trail(self):
        return self.client("cloudtrail")

    def assume(self, role_arn, session, **more):
        """The session of a role that this principal assumes."""
        made = self.sts.assume_role(RoleArn=role_arn, RoleSessionName=session, **more)
        keys = made["Credentials"]
        return Principal(self.url, self.answers, role_arn.split(":")[4], made["AssumedRoleUser"]["Arn"],
                         keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])

    def aws(self, *arguments, check=True):
        """The stock `aws` command; its output, parsed, or the finished process with `check=False`."""
        with tempfile.NamedTemporaryFile("w", prefix="strongroom-e2e-") as file:
            file.write(f"[default]\naws_access_key_id = {self.access_key}\naws_secret_access_key = {self.secret_key}\n")
            file.flush()
            kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            environment = kept | {
                "AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_PAGER": "",
                "AWS_SHARED_CREDENTIALS_FILE": file.name, "AWS_CONFIG_FILE": os.devnull, "AWS_MAX_ATTEMPTS": "1"}
            command = [aws_program(), "--output", "json", *arguments]
            done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=300)
        if not check:
            return done
        assert done.returncode == 0, f"aws {' '.join(arguments)}\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else {}


def aws_program():
    """The stock command line, of the environment that runs the tests."""
    return str(pathlib.Path(sys.executable).with_name("aws"))


def root_of(server, answers, account, profile="default"):
    """The administrator of an account."""
    return Principal(server.url, answers, account, f"arn:aws:iam::{account}:root", *server.credentials(profile))


def user(administrator, name, *statements):
    """A new IAM user with one inline policy of these statements."""
    made = administrator.iam.create_user(UserName=name)["User"]
    key = administrator.iam.create_access_key(UserName=name)["AccessKey"]
    if statements:
        grant_user(administrator, name, *statements)
    return Principal(administrator.url, administrator.answers, administrator.account, made["Arn"],
                     key["AccessKeyId"], key["SecretAccessKey"])


def grant_user(administrator, name, *statements):
    """Replaces the inline policy of a user."""
    administrator.iam.put_user_policy(UserName=name, PolicyName="test", PolicyDocument=document(*statements))


def document(*statements):
    """A policy document as JSON text."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions, resource="*", **more):
    """An Allow statement; `Principal` and `Condition` by keyword."""
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}


def deny(actions, resource="*", **more):
    """A Deny statement."""
    return {"Effect": "Deny", "Action": actions, "Resource": resource, **more}


def method(operation):
    """The name of a boto3 method: `DescribeDBClusters` to `describe_db_clusters`."""
    return botocore.xform_name(operation)
