"""What a Lambda function may ask for here, and where its code is."""

import base64
import hashlib
import io
import re
import shutil
import sys
import threading
import uuid
import zipfile
from pathlib import Path
from typing import Any

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaFunction

from local.aws import s3, settings
from local.aws.lambda_workers import Specification

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ARN = re.compile(r"(?:arn:aws:lambda:[\w-]+:\d{12}:)?(?:function:)?([\w-]+)(?::(\$LATEST))?")

# What changes nothing on one machine is taken note of: where a function runs, who it is, how large its disk is.
_CREATE = {
    *("FunctionName", "Runtime", "Role", "Handler", "Code", "Description", "Timeout", "MemorySize", "Environment"),
    *("Layers", "Tags", "PackageType", "Architectures", "VpcConfig", "EphemeralStorage", "TracingConfig"),
    *("Publish", "ReservedConcurrentExecutions"),
}
_UPDATE = {
    *("Description", "Handler", "MemorySize", "Role", "Runtime", "Timeout", "VpcConfig", "Environment", "Layers"),
    "FunctionName",
}
_CODE = {"ZipFile", "S3Bucket", "S3Key"}
_UPDATE_CODE = {"FunctionName", "Architectures", "DryRun", "Publish", *_CODE}
_RESERVED = {
    *("_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV"),
    *("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"),
    *("AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"),
    *("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API"),
    *("LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"),
}
_unpacking = threading.Lock()


class UnsupportedError(LambdaClientError):
    """The local Lambda does not do it."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidParameterValueException", message)


def function_name(name: str) -> str:
    """The plain name of a function, from its name or ARN, full or partial.

    Raises:
        UnsupportedError: A version or an alias is meant.
    """
    found = ARN.fullmatch(name)
    if found is None:
        raise UnsupportedError(f"{name}: the local Lambda has no versions and no aliases, only $LATEST of a function")
    return found[1]


def check_new(request: dict[str, Any]) -> None:
    """Refuse a CreateFunction that asks for what is not done.

    Raises:
        UnsupportedError: It names the field.
    """
    _refuse_others(request, _CREATE, "CreateFunction")
    if request.get("PackageType", "Zip") != "Zip":
        raise UnsupportedError("PackageType Image: the local Lambda runs zips only")
    if request.get("Runtime") != RUNTIME:
        raise UnsupportedError(f"Runtime {request.get('Runtime')}: the local Lambda runs {RUNTIME}")
    if not request.get("Handler"):
        raise UnsupportedError("Handler is missing: module.function")
    if request.get("Publish"):
        raise UnsupportedError("Publish: the local Lambda has no versions")
    _refuse_others(request.get("Code") or {}, _CODE, "Code")
    _check_settings(request)
    check_archive(request.get("Code") or {})


def check_configuration(request: dict[str, Any]) -> None:
    """Refuse an UpdateFunctionConfiguration that asks for what is not done.

    Raises:
        UnsupportedError: It names the field.
    """
    _refuse_others(request, _UPDATE, "UpdateFunctionConfiguration")
    if request.get("Runtime", RUNTIME) != RUNTIME:
        raise UnsupportedError(f"Runtime {request['Runtime']}: the local Lambda runs {RUNTIME}")
    _check_settings(request)


def check_code(request: dict[str, Any]) -> None:
    """Refuse an UpdateFunctionCode that asks for what is not done.

    Raises:
        UnsupportedError: It names the field.
    """
    _refuse_others(request, _UPDATE_CODE, "UpdateFunctionCode")
    if request.get("Publish"):
        raise UnsupportedError("Publish: the local Lambda has no versions")
    check_archive(request)


def check_archive(code: dict[str, Any]) -> None:
    """Refuse code, or a layer's content, that can't be unpacked.

    Args:
        code: With ``ZipFile`` in Base64, or ``S3Bucket`` and ``S3Key``.

    Raises:
        UnsupportedError: It is not there, or no zip.
    """
    if "ZipFile" in code:
        content = base64.b64decode(code["ZipFile"])
    elif {"S3Bucket", "S3Key"} <= code.keys():
        file = s3.path(code["S3Bucket"], code["S3Key"])
        if not file.is_file():
            raise UnsupportedError(
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: "
                f"s3://{code['S3Bucket']}/{code['S3Key']} does not exist"
            )
        content = file.read_bytes()
    else:
        raise UnsupportedError("Code: ZipFile, or S3Bucket and S3Key, must say where the zip is")
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise UnsupportedError("Could not unzip uploaded file. Please check your file, then try to upload again.")


def specification(function: LambdaFunction, layers: list[bytes]) -> Specification:
    """What workers must know of a function; its code is unpacked.

    Args:
        function: As moto keeps it.
        layers: The zips of its layers, in order.
    """
    return Specification(
        name=function.function_name,
        arn=function.function_arn,
        handler=str(function.handler),
        timeout=float(function.timeout),
        memory=int(function.memory_size),
        environment={name: str(value) for name, value in (function.environment_vars or {}).items()},
        task=_unpacked(function.code_bytes),
        layers=tuple(_unpacked(layer) for layer in layers),
    )


def forget_code() -> None:
    """Remove what earlier runs of the stack unpacked."""
    shutil.rmtree(_folder(), ignore_errors=True)


def _folder() -> Path:
    return settings.current().state.absolute() / "lambda"


def _unpacked(archive: bytes) -> Path:
    """The folder with a zip's content; the same content is unpacked once."""
    folder = _folder() / hashlib.sha256(archive).hexdigest()[:32]
    with _unpacking:
        if not folder.is_dir():
            staged = folder.with_name(f"{folder.name}-{uuid.uuid4().hex}")
            with zipfile.ZipFile(io.BytesIO(archive)) as content:
                content.extractall(staged)
            staged.rename(folder)
    return folder


def _refuse_others(request: dict[str, Any], known: set[str], where: str) -> None:
    others = sorted(name for name, value in request.items() if name not in known and value not in (None, "", [], {}))
    if others:
        raise UnsupportedError(f"{where}: the local Lambda does not do {', '.join(others)}")


def _check_settings(request: dict[str, Any]) -> None:
    variables = (request.get("Environment") or {}).get("Variables") or {}
    if reserved := sorted(_RESERVED & variables.keys()):
        raise UnsupportedError(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
            f"this request: {', '.join(reserved)}"
        )
    if not 1 <= int(request.get("Timeout", 3)) <= 900:
        raise UnsupportedError(f"Timeout {request['Timeout']}: it must be within 1 and 900 seconds")
    if not 128 <= int(request.get("MemorySize", 128)) <= 10240:
        raise UnsupportedError(f"MemorySize {request['MemorySize']}: it must be within 128 and 10240 MB")
    if (request.get("TracingConfig") or {}).get("Mode", "PassThrough") != "PassThrough":
        raise UnsupportedError("TracingConfig.Mode Active: the local stack has no X-Ray")
