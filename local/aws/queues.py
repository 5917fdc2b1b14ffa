"""SQS: moto's queues, whose messages neither get lost nor are seen twice when several clients use them at a time."""

from typing import Any

from moto.sqs.models import Message, Queue, SQSBackend

from local.aws import plugging


def plug() -> None:
    """Let this module answer SQS."""
    plugging.plug(LocalSQSBackend)


class LocalSQSBackend(plugging.Plugged, SQSBackend):
    """moto's, with one client at a time in a queue; who waits for messages hears of each that shows up.

    moto takes a queue's lock to add a message, but not to delete one, which replaces the list that is being added to.
    """

    service = "sqs"

    def send_message(self, queue_name: str, *args: Any, **kwargs: Any) -> Message:
        """Add a message."""
        with self.get_queue(queue_name)._messages_lock:
            return super().send_message(queue_name, *args, **kwargs)

    def receive_message(self, queue_name: str, *args: Any, **kwargs: Any) -> list[Message]:
        """Hand out messages; waiting gives the lock away."""
        with self.get_queue(queue_name)._messages_lock:
            return super().receive_message(queue_name, *args, **kwargs)

    def delete_message(self, queue_name: str, receipt_handle: str) -> None:
        """Delete a message."""
        with self.get_queue(queue_name)._messages_lock:
            super().delete_message(queue_name, receipt_handle)

    def change_message_visibility(self, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
        """Hide a message for longer, or show it."""
        queue = self.get_queue(queue_name)
        with queue._messages_lock:
            super().change_message_visibility(queue_name, receipt_handle, visibility_timeout)
        self._tell(queue)

    def purge_queue(self, queue_name: str) -> None:
        """Delete all messages."""
        with self.get_queue(queue_name)._messages_lock:
            super().purge_queue(queue_name)

    def delete_queue(self, queue_name: str) -> None:
        """Delete a queue."""
        queue = self.get_queue(queue_name)
        super().delete_queue(queue_name)
        self._tell(queue)

    @staticmethod
    def _tell(queue: Queue) -> None:
        with queue._messages_lock:
            queue._messages_lock.notify_all()
