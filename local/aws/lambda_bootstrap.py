"""The main program of a Lambda worker: AWS's own runtime client, in a process group that ends when the stack does.

Run as a script, and apart from the project: a function finds its own zip, its layers and the installed packages,
nothing else. Standard input is a pipe that the stack never writes to; however the stack dies, the pipe ends.
"""

import os
import signal
import sys
import threading


def main() -> None:
    """Serve the Runtime API at `AWS_LAMBDA_RUNTIME_API` with the handler that is the only argument."""
    lifeline = os.dup(sys.stdin.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    from awslambdaric.__main__ import main as serve

    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    serve(sys.argv)


def _end_with(pipe: int) -> None:
    os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
