import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from local.aws.processes import Exit, Process, StartError

ROOT = Path(__file__).parents[3]
MEBIBYTE = 1024 * 1024


def run(code: str, folder: Path, **limits) -> tuple[Exit, list[str]]:
    lines: list[str] = []
    process = Process([sys.executable, "-c", code], dict(os.environ), folder, **limits)
    return process.wait(lines.extend), lines


def gone(pid: int) -> bool:
    """Wait until a process does not exist; a zombie counts as gone."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def first_line(lines: list[str]) -> str:
    deadline = time.monotonic() + 30
    while not lines and time.monotonic() < deadline:
        time.sleep(0.02)
    return lines[0]


def test_exit_code_and_output_are_those_of_the_process(tmp_path):
    ended, lines = run("import sys; print('out'); sys.exit(3)", tmp_path)
    assert (ended.code, ended.cause, lines) == (3, "exited", ["out"])


def test_both_streams_keep_the_order_of_writing(tmp_path):
    code = "import os\nfor i in range(50): os.write(1 + i % 2, f'{i}\\n'.encode())"
    assert run(code, tmp_path)[1] == [str(number) for number in range(50)]


def test_environment_and_folder_are_only_what_was_given(tmp_path):
    lines: list[str] = []
    code = "import os; print(os.getcwd()); print(sorted(k for k in os.environ if k != 'LC_CTYPE'))"
    Process([sys.executable, "-c", code], {"ONLY": "this"}, tmp_path).wait(lines.extend)
    assert lines == [str(tmp_path.resolve()), "['ONLY']"]


def test_standard_input_is_empty(tmp_path):
    assert run("import sys; print(repr(sys.stdin.read()))", tmp_path)[1] == ["''"]


def test_a_signal_ends_with_128_and_its_number(tmp_path):
    ended, _ = run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert (ended.code, ended.cause) == (137, "exited")


@pytest.mark.parametrize("command", [["/nowhere/at/all"], [str(ROOT)]])
def test_a_command_that_cannot_start_says_so(tmp_path, command):
    with pytest.raises(StartError, match=command[0]):
        Process(command, {}, tmp_path).wait(print)


def test_a_stop_leaves_time_to_clean_up(tmp_path):
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('cleaning up'), sys.exit(5)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    lines: list[str] = []
    process = Process([sys.executable, "-c", code], dict(os.environ), tmp_path)
    threading.Thread(target=lambda: (first_line(lines), process.stop())).start()
    ended = process.wait(lines.extend)
    assert (ended.code, ended.cause, lines) == (5, "stopped", ["ready", "cleaning up"])


def test_timeout_stops(tmp_path):
    ended, _ = run("import time; time.sleep(600)", tmp_path, timeout=0.5)
    assert (ended.code, ended.cause) == (143, "timeout")


def test_timeout_kills_what_ignores_the_stop(tmp_path):
    code = "trap '' TERM; while :; do sleep 1; done"
    ended = Process(["/bin/sh", "-c", code], dict(os.environ), tmp_path, timeout=0.5, grace=0.3).wait(print)
    assert (ended.code, ended.cause) == (137, "timeout")


def test_memory_over_the_limit_is_killed_and_measured(tmp_path):
    ended, _ = run("import time; held = b'x' * (200 << 20); time.sleep(600)", tmp_path, memory=100 * MEBIBYTE)
    assert (ended.code, ended.cause) == (137, "memory")
    assert ended.peak > 100 * MEBIBYTE


def test_memory_below_the_limit_is_measured(tmp_path):
    ended, _ = run("import time; held = b'x' * (100 << 20); time.sleep(0.7)", tmp_path, memory=400 * MEBIBYTE)
    assert ended.cause == "exited"
    assert 100 * MEBIBYTE < ended.peak < 200 * MEBIBYTE


def test_memory_of_the_whole_tree_counts(tmp_path):
    hold = "import time; held = b'x' * (80 << 20); time.sleep(600)"
    code = (
        f"import subprocess, sys\nfor p in [subprocess.Popen([sys.executable, '-c', {hold!r}]) for _ in 'ab']: p.wait()"
    )
    ended, _ = run(code, tmp_path, memory=130 * MEBIBYTE)
    assert ended.cause == "memory"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells shared memory from a process's own")
def test_memory_shared_between_forks_counts_once(tmp_path):
    code = (
        "import os, time\n"
        "held = bytearray(b'x') * (100 << 20)\n"
        "children = [os.fork() for _ in 'a']\n"
        "time.sleep(1)\n"
        "if all(children): os.wait()"
    )
    ended, _ = run(code, tmp_path, memory=160 * MEBIBYTE)
    assert (ended.code, ended.cause) == (0, "exited")


def test_stop_reaches_the_whole_process_group(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    lines: list[str] = []
    process = Process([sys.executable, "-c", code], dict(os.environ), tmp_path)
    threading.Thread(target=lambda: (first_line(lines), process.stop())).start()
    ended = process.wait(lines.extend)
    assert (ended.code, ended.cause) == (143, "stopped")
    assert gone(int(lines[0]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a supervisor adopt daemons")
def test_a_daemon_ends_with_the_first_process(tmp_path):
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "time.sleep(0.5)"
    )
    ended, lines = run(code, tmp_path)
    assert ended.code == 0
    assert gone(int(lines[0]))


def test_kill_ends_everything_at_once(tmp_path):
    code = "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)"
    lines: list[str] = []
    process = Process([sys.executable, "-c", code], dict(os.environ), tmp_path)
    threading.Thread(target=lambda: (first_line(lines), process.kill())).start()
    ended = process.wait(lines.extend)
    assert (ended.code, ended.cause) == (137, "killed")
    assert gone(int(lines[0]))


@pytest.mark.parametrize("group", [False, True], ids=["process", "process group"])
def test_nothing_survives_the_death_of_the_stack(tmp_path, group):
    job = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print(os.getpid(), child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    stack = (
        "import os, pathlib, sys\n"
        "from local.aws.processes import Process\n"
        f"process = Process([sys.executable, '-c', {job!r}], dict(os.environ), pathlib.Path({str(tmp_path)!r}))\n"
        "process.wait(lambda lines: [print(line, flush=True) for line in lines])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", stack], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(map(psutil.pid_exists, pids))
        (os.killpg if group else os.kill)(parent.pid, signal.SIGKILL)
    assert all(map(gone, pids))
    assert len(pids) == 2


def test_a_failing_reader_ends_the_process(tmp_path):
    def fail(lines):
        raise OSError(f"cannot write {lines}")

    process = Process([sys.executable, "-c", "print('x', flush=True); import time; time.sleep(600)"], {}, tmp_path)
    with pytest.raises(OSError, match="cannot write"):
        process.wait(fail)
