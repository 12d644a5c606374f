"""Every answer against AWS's own service model.

botocore parses leniently: it drops what it does not know and forgives what is missing. Here an answer is held
to its model to the letter: members, their types, required ones, enumerations, error codes and statuses.
"""

import base64
import binascii
import datetime
import json
import re
import xml.etree.ElementTree as ElementTree

import botocore.loaders
import botocore.model

SERVICES = ("kms", "rds", "iam", "sts", "cloudtrail")

# Errors of AWS that no model lists (spec/kms.md §1, spec/rds.md §11, spec/policy.md §10 and §11).
COMMON_JSON = {
    "ValidationException": 400, "AccessDeniedException": 400, "ThrottlingException": 400,
    "UnrecognizedClientException": 400, "InvalidSignatureException": 400, "MissingAuthenticationTokenException": 400,
    "IncompleteSignatureException": 400, "ExpiredTokenException": 400, "UnknownOperationException": 400,
    "SerializationException": 400, "UnsupportedOperationException": 400,
}
COMMON_QUERY = {
    "InvalidParameterValue": 400, "InvalidParameterCombination": 400, "MissingParameter": 400, "InvalidAction": 400,
    "AccessDenied": 403, "Throttling": 400, "ValidationError": 400, "MalformedQueryString": 400, "MalformedInput": 400,
    "MissingAuthenticationToken": 403, "IncompleteSignature": 400, "InvalidClientTokenId": 403,
    "SignatureDoesNotMatch": 403, "ExpiredToken": 403,
}
# Where the specification wants an error that the model of the operation does not list: code and status.
ALSO = {
    # A predefined alias (spec/kms.md §3).
    ("kms", "CreateAlias"): {"NotAuthorizedException": 400},
    ("kms", "UpdateAlias"): {"NotAuthorizedException": 400},
    ("kms", "DeleteAlias"): {"NotAuthorizedException": 400},
}

_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")
_REQUEST_ID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def service_model(service):
    """The official model of a service, as botocore ships it."""
    if service not in _MODELS:
        described = botocore.loaders.Loader().load_service_model(service, "service-2")
        _MODELS[service] = botocore.model.ServiceModel(described, service)
    return _MODELS[service]


_MODELS = {}


class Answers:
    """Collects what was called, and what was wrong with an answer."""

    def __init__(self):
        self.called = set()
        self.succeeded = set()
        self.wrong = []

    def check(self, service, operation, status, headers, body):
        """Holds one raw answer to the model; complaints wait for `taken`."""
        self.called.add((service, operation))
        if status < 300:
            self.succeeded.add((service, operation))
        model = service_model(service).operation_model(operation)
        found = list(_complaints(model, status, {k.lower(): v for k, v in headers.items()}, body))
        self.wrong += [f"{service}:{operation} ({status}): {complaint}" for complaint in found]

    def taken(self):
        """The complaints since the last call."""
        wrong, self.wrong = self.wrong, []
        return wrong

    def watch(self, client):
        """Checks every answer that a boto3 client gets, before botocore parses it."""
        service = client.meta.service_model.service_name

        def before_parse(operation_model, response_dict, **_):
            self.check(service, operation_model.name, response_dict["status_code"], response_dict["headers"],
                       response_dict["body"])

        client.meta.events.register(f"before-parse.{client.meta.service_model.service_id.hyphenize()}", before_parse)


def _complaints(model, status, headers, body):
    json_service = model.service_model.metadata["protocol"] == "json"
    if not _REQUEST_ID.match(headers.get("x-amzn-requestid", "")):
        yield "no x-amzn-RequestId"
    wanted = "application/x-amz-json-1.1" if json_service else "text/xml"
    if headers.get("content-type", "").split(";")[0] != wanted:
        yield f"Content-Type {headers.get('content-type')!r}"
    try:
        if json_service:
            yield from _json_answer(model, status, body)
        else:
            yield from _xml_answer(model, status, body, headers)
    except (ValueError, ElementTree.ParseError) as error:
        yield f"unreadable: {error}: {body[:200]!r}"


# --- errors

def _error(model, code, status, common):
    service = model.service_model.service_name
    modelled = {shape.metadata.get("error", {}).get("code", shape.name): shape for shape in model.error_shapes}
    also = common | ALSO.get((service, model.name), {})
    if code in modelled:
        wanted = modelled[code].metadata.get("error", {}).get("httpStatusCode", 400)
        if model.service_model.metadata["protocol"] == "json":
            wanted = 500 if wanted >= 500 else 400  # the model's 404 and 409 are 400 on the wire (spec/kms.md §15)
    elif code in also:
        wanted = also[code]
    else:
        yield f"the model has no error {code!r}"
        return
    if status != wanted:
        yield f"{code} with status {status}, not {wanted}"


# --- JSON

def _json_answer(model, status, body):
    if status >= 300:
        answer = json.loads(body)
        code = answer.get("__type", "")
        yield from _error(model, code, status, COMMON_JSON)
        text = "Message" if code == "AccessDeniedException" else "message"
        for name in answer:
            if name not in ("__type", text):
                yield f"unknown member {name} of {code}"
        if not isinstance(answer.get(text, ""), str):
            yield f"the text of {code} is no string"
        return
    if model.output_shape is None or not model.output_shape.members:
        if body not in (b"", b"{}"):
            yield f"an answer where none is modelled: {body[:100]!r}"
        return
    yield from _json_value(model.output_shape, json.loads(body), "answer")


def _json_value(shape, value, at):
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            yield f"{at}: no object"
            return
        for name in shape.required_members:
            if name not in value:
                yield f"{at}: {name} is missing"
        for name, member in value.items():
            if name not in shape.members:
                yield f"{at}: unknown member {name}"
            elif member is None:
                yield f"{at}.{name}: null"
            else:
                yield from _json_value(shape.members[name], member, f"{at}.{name}")
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{at}: no list"
            return
        for index, item in enumerate(value):
            yield from _json_value(shape.member, item, f"{at}[{index}]")
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{at}: no map"
            return
        for name, item in value.items():
            yield from _json_value(shape.value, item, f"{at}[{name!r}]")
    elif kind == "blob":
        try:
            base64.b64decode(value, validate=True)
        except (TypeError, binascii.Error):
            yield f"{at}: no base64"
    elif kind == "timestamp":
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{at}: no number of seconds"
    elif kind == "boolean":
        if not isinstance(value, bool):
            yield f"{at}: no boolean"
    elif kind in ("integer", "long"):
        if not isinstance(value, int) or isinstance(value, bool):
            yield f"{at}: no whole number"
    elif not isinstance(value, str):
        yield f"{at}: no string"
    else:
        yield from _choice(shape, value, at)


def _choice(shape, value, at):
    choices = getattr(shape, "enum", None)
    if choices and value not in choices:
        yield f"{at}: {value!r} is none of {choices}"


# --- XML

def _xml_answer(model, status, body, headers):
    namespace = "{" + model.service_model.metadata["xmlNamespace"] + "}"
    root = ElementTree.fromstring(body)
    for element in root.iter():
        if not element.tag.startswith(namespace):
            yield f"{element.tag} is outside of {namespace}"
            return
        element.tag = element.tag[len(namespace):]
    if status >= 300:
        yield from _xml_error(model, status, root, headers)
        return
    if root.tag != f"{model.name}Response":
        yield f"the root is {root.tag}"
    request_id = root.findtext("ResponseMetadata/RequestId")
    if request_id != headers.get("x-amzn-requestid"):
        yield f"RequestId {request_id} is not the header's"
    wrapper = model.output_shape.serialization.get("resultWrapper") if model.output_shape else None
    if [child.tag for child in root] != ([wrapper] if wrapper else []) + ["ResponseMetadata"]:
        yield f"children of the root: {[child.tag for child in root]}"
        return
    if wrapper:
        yield from _xml_value(model.output_shape, root[0], wrapper)


def _xml_error(model, status, root, headers):
    if root.tag != "ErrorResponse" or [child.tag for child in root] != ["Error", "RequestId"]:
        yield f"an error of the form {root.tag}/{[child.tag for child in root]}"
        return
    if sorted(child.tag for child in root[0]) not in (["Code", "Message", "Type"], ["Code", "Type"]):
        yield f"members of Error: {[child.tag for child in root[0]]}"
    if root.findtext("RequestId") != headers.get("x-amzn-requestid"):
        yield "RequestId is not the header's"
    if root.findtext("Error/Type") != ("Receiver" if status >= 500 else "Sender"):
        yield f"Type {root.findtext('Error/Type')} with status {status}"
    yield from _error(model, root.findtext("Error/Code"), status, COMMON_QUERY)


def _xml_value(shape, element, at):
    kind = shape.type_name
    if kind == "structure":
        yield from _xml_structure(shape, element, at)
    elif kind == "list":
        name = shape.member.serialization.get("name", "member")
        for index, item in enumerate(element):
            if item.tag != name:
                yield f"{at}: item {item.tag}, not {name}"
            else:
                yield from _xml_value(shape.member, item, f"{at}[{index}]")
        if (element.text or "").strip():
            yield f"{at}: text in a list"
    elif kind == "map":
        for entry in element:
            if [child.tag for child in entry] != ["key", "value"]:
                yield f"{at}: an entry has {[child.tag for child in entry]}"
    elif len(element):
        yield f"{at}: elements where {kind} is modelled"
    else:
        yield from _xml_scalar(shape, element.text or "", at)


def _xml_structure(shape, element, at):
    if (element.text or "").strip():
        yield f"{at}: text in a structure"
    by_name = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
    seen = [child.tag for child in element]
    for tag in {tag for tag in seen if seen.count(tag) > 1}:
        yield f"{at}: {tag} is there twice"
    for name in shape.required_members:
        if shape.members[name].serialization.get("name", name) not in seen:
            yield f"{at}: {name} is missing"
    for child in element:
        if child.tag not in by_name:
            yield f"{at}: unknown member {child.tag}"
        else:
            name, member = by_name[child.tag]
            yield from _xml_value(member, child, f"{at}.{name}")


def _xml_scalar(shape, text, at):
    kind = shape.type_name
    if kind == "boolean":
        if text not in ("true", "false"):
            yield f"{at}: {text!r} is no boolean"
    elif kind in ("integer", "long"):
        if not re.fullmatch(r"-?\d+", text):
            yield f"{at}: {text!r} is no whole number"
    elif kind in ("double", "float"):
        float(text)
    elif kind == "timestamp":
        if not _TIMESTAMP.match(text):
            yield f"{at}: {text!r} is no timestamp"
        else:
            datetime.datetime.fromisoformat(text)
    else:
        yield from _choice(shape, text, at)
