"""What the local stack relies on inside moto. A new version of moto that breaks one of these must not be taken over."""

import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from moto.athena.models import AthenaBackend
from moto.awslambda.models import LambdaBackend
from moto.backends import get_backend
from moto.batch.models import BatchBackend
from moto.cloudformation import models as cloudformation_models
from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend
from moto.core.base_backend import BackendDict, BaseBackend
from moto.events.models import EventsBackend
from moto.glue.models import GlueBackend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.redshiftdata.models import RedshiftDataAPIServiceBackend
from moto.s3 import models as s3_models
from moto.s3.models import FakeKey, FakeMultipart, S3Backend
from moto.s3.responses import S3Response
from moto.sns.models import SNSBackend
from moto.sqs.models import SQSBackend
from moto.sqs.responses import SQSResponse

from local.aws import plugging, s3
from local.aws.plugging import Plugged, PluggingError
from local.aws.server import PLUGGED, Server
from local.aws.settings import ACCOUNT, REGION, Settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(Settings(tmp_path_factory.mktemp("state"), 0)).start()
    yield started
    started.stop()


class OwnResponse(SQSResponse):
    pass


class OwnQueues(Plugged, SQSBackend):
    service = "sqs"
    response = OwnResponse


@pytest.fixture
def queues() -> Iterator[BackendDict]:
    backends = get_backend("sqs")
    backends.clear()
    yield backends
    backends.backend = SQSBackend
    backends.clear()


def test_moto_is_the_version_that_was_examined() -> None:
    assert version("moto") == "5.2.5"


def test_a_plugged_backend_answers_on_motos_urls_with_its_own_response(queues: BackendDict) -> None:
    plugging.plug(OwnQueues)
    backend = queues[ACCOUNT][REGION]
    assert isinstance(backend, OwnQueues)
    assert backend.url_bases == SQSBackend(REGION, ACCOUNT).url_bases
    assert set(backend.url_paths) == set(SQSBackend(REGION, ACCOUNT).url_paths)
    assert {handler.__self__ for handler in backend.url_paths.values()} == {OwnResponse}
    plugging.verify(("sqs",), ACCOUNT, REGION)


def test_plugging_after_the_first_use_fails(queues: BackendDict) -> None:
    assert isinstance(queues[ACCOUNT][REGION], SQSBackend)
    with pytest.raises(PluggingError, match="sqs: moto already built SQSBackend"):
        plugging.plug(OwnQueues)


def test_plugging_again_is_no_error(queues: BackendDict) -> None:
    plugging.plug(OwnQueues)
    first = queues[ACCOUNT][REGION]
    plugging.plug(OwnQueues)
    assert queues[ACCOUNT][REGION] is first


def test_verification_finds_a_service_that_moto_answers_alone(queues: BackendDict) -> None:
    with pytest.raises(PluggingError, match=r"sqs: answered by moto\.sqs\.models\.SQSBackend"):
        plugging.verify(("sqs",), ACCOUNT, REGION)


def test_verification_finds_a_response_that_parses_nothing(
    queues: BackendDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugging.plug(OwnQueues)
    assert queues[ACCOUNT][REGION]
    monkeypatch.setattr(OwnQueues, "_answered_by", lambda self, handler: handler)
    with pytest.raises(PluggingError, match="OwnResponse"):
        plugging.verify(("sqs",), ACCOUNT, REGION)


def test_the_servers_backends_are_ours(server: Server) -> None:
    backends = {service: get_backend(service)[ACCOUNT] for service in PLUGGED}
    expected = {
        "athena": AthenaBackend,
        "awslambda": LambdaBackend,
        "batch": BatchBackend,
        "cloudformation": CloudFormationBackend,
        "events": EventsBackend,
        "glue": GlueBackend,
        "redshiftdata": RedshiftDataAPIServiceBackend,
        "s3": S3Backend,
        "sns": SNSBackend,
        "sqs": SQSBackend,
    }
    for service, base in expected.items():
        backend = backends[service]["aws" if service == "s3" else REGION]
        assert isinstance(backend, Plugged), service
        assert isinstance(backend, base), service
        assert type(backend).__module__.startswith("local.aws."), service
    assert set(PLUGGED) == set(expected)


# ------------------------------------------------------------------------------------------- private members we touch


def test_moto_asks_a_backend_for_its_url_module() -> None:
    assert isinstance(inspect.getattr_static(BaseBackend, "_url_module"), property)
    for member in (BaseBackend.url_bases, BaseBackend.url_paths):
        assert "_url_module" in member.fget.__code__.co_names


def test_moto_builds_keys_and_uploads_from_the_names_in_its_module() -> None:
    assert "FakeKey" in S3Backend.put_object.__code__.co_names
    assert "FakeKey" in FakeMultipart.set_part.__code__.co_names
    assert "FakeMultipart" in S3Backend.create_multipart_upload.__code__.co_names
    assert "S3_UPLOAD_PART_MIN_SIZE" in vars(s3_models)
    assert {"buckets", "tagger"} <= set(S3Backend.__init__.__code__.co_names)
    assert "bucket_accounts" in vars(s3_models.s3_backends)


def test_keys_that_moto_builds_are_files(server: Server, tmp_path: Path) -> None:
    backend = s3.backend()
    backend.create_bucket("pinned-bucket", REGION)
    key = backend.put_object("pinned-bucket", "key", b"bytes")
    upload = backend.create_multipart_upload("pinned-bucket", "other", {}, "STANDARD", {}, None, "", "")
    part = backend.upload_part("pinned-bucket", upload.id, 1, b"part")
    assert isinstance(key, s3.StoredKey)
    assert isinstance(upload, s3.StoredMultipart)
    assert part.path.read_bytes() == b"part"
    backend.abort_multipart_upload("pinned-bucket", upload.id)
    assert not part.path.exists()


def test_the_members_of_a_key_that_are_kept(server: Server) -> None:
    fresh = FakeKey("key", b"bytes", ACCOUNT, REGION)
    for name in ("_etag", "_metadata", "_storage_class", "last_modified", "contentsize", "disposed", "bucket_name"):
        assert name in vars(fresh), name
    for name in s3._FACTS:
        assert name in vars(fresh) or name in ("checksum_type", "checksum_parts"), name
    assert fresh._storage_class == "STANDARD"
    assert dict(fresh._metadata) == {"content-type": "binary/octet-stream"}
    fresh.dispose()


def test_the_steps_of_an_s3_request_that_are_wrapped() -> None:
    for step in ("_key_response_put", "_key_response_post", "_key_response_delete"):
        assert step in S3Response._key_response.__code__.co_names, step
    assert "_enrich_response" in S3Response._send_response.__code__.co_names
    assert "value" in S3Response.get_object.__code__.co_names


def test_moto_finds_the_classes_of_resources_by_functions_of_its_module() -> None:
    assert "resource_class_from_type" in parsing.parse_resource.__code__.co_names
    assert "resource_name_property_from_type" in parsing.parse_resource_and_generate_name.__code__.co_names
    assert "is_created" in parsing.ResourceMap.create.__code__.co_names
    assert "delete" in parsing.ResourceMap._delete_resource.__code__.co_names
    assert "parse_template" in vars(cloudformation_models.Stack)
    assert "stacks" in CloudFormationBackend.__init__.__code__.co_names


def test_moto_chooses_the_application_through_the_function_it_was_given() -> None:
    names = DomainDispatcherApplication.get_application.__code__.co_names
    assert {"get_backend_for_host", "create_app", "app_instances"} <= set(names)
