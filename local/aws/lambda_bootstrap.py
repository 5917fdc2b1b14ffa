"""The main program of a Lambda worker: AWS's own runtime client, in a process group that ends when the stack does.

Run as a script, and apart from the project: a function finds its own zip, its layers and the installed packages,
nothing else. Standard input is a pipe that the stack never writes to; however the stack dies, the pipe ends.
"""

import os
import signal
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def main() -> None:
    """Serve the Runtime API at `AWS_LAMBDA_RUNTIME_API` with the handler that is the only argument."""
    lifeline = os.dup(sys.stdin.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    sys.modules["runtime_client"] = _client()
    from awslambdaric.__main__ import main as serve

    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    serve(sys.argv)


def _client() -> ModuleType:
    """The module beside this file, which is not on the path."""
    specification = spec_from_file_location("runtime_client", Path(__file__).with_name("lambda_client.py"))
    module = module_from_spec(specification)  # type: ignore[arg-type]
    specification.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _end_with(pipe: int) -> None:
    os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
