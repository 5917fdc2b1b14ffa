import threading
from collections.abc import Iterator

import pytest
from moto.sqs.models import sqs_backends

from local.aws.queues import LocalSQSBackend
from local.aws.server import Server
from local.aws.settings import ACCOUNT, REGION, Settings


@pytest.fixture
def backend(tmp_path) -> Iterator[LocalSQSBackend]:
    server = Server(Settings(tmp_path / "state", 0)).start()
    backend = sqs_backends[ACCOUNT][REGION]
    assert isinstance(backend, LocalSQSBackend)
    yield backend
    server.stop()


def test_nothing_is_lost_or_handed_out_twice_when_many_use_a_queue(backend: LocalSQSBackend) -> None:
    backend.create_queue("busy")
    received: list[str] = []
    sent = threading.Event()

    def send(sender: int) -> None:
        for number in range(50):
            backend.send_message("busy", f"{sender}-{number}")

    def receive() -> None:
        while messages := backend.receive_message("busy", 10, 0 if sent.is_set() else 1, 60):
            for message in messages:
                received.append(message.body)
                backend.delete_message("busy", str(message.receipt_handle))

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    receivers = [threading.Thread(target=receive) for _ in range(4)]
    for thread in senders + receivers:
        thread.start()
    for thread in senders:
        thread.join()
    sent.set()
    for thread in receivers:
        thread.join()
    receive()
    assert sorted(received) == sorted(f"{sender}-{number}" for sender in range(4) for number in range(50))
    assert backend.get_queue("busy")._messages == []
