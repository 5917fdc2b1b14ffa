"""A stream for the tests of producers: what the service does with PutRecords, and what it can be told to refuse."""

from botocore.exceptions import ClientError

from local.producer.delivery import BATCH_BYTES
from local.producer.sources import STREAMS

NAMES = tuple(STREAMS.values())


class Meta:
    endpoint_url = "http://kinesis.test"


class Kinesis:
    """The service's side of PutRecords: keeps what it takes, in order, and takes what it is told to take."""

    meta = Meta()

    def __init__(self, refuse=lambda request, number: False, streams=NAMES):
        self.taken, self.requests, self._refuse, self._streams = [], [], refuse, streams

    def describe_stream_summary(self, StreamName):
        if StreamName not in self._streams:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "DescribeStreamSummary")

    def list_streams(self):
        return {"StreamNames": list(self._streams)}

    def put_records(self, StreamName, Records):
        assert 1 <= len(Records) <= 500
        assert sum(len(record["Data"]) + len(record["PartitionKey"]) for record in Records) <= BATCH_BYTES
        self.requests.append(len(Records))
        results = []
        for number, record in enumerate(Records):
            if self._refuse(len(self.requests), number):
                results.append({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"})
            else:
                self.taken.append((record["PartitionKey"], record["Data"]))
                results.append({"SequenceNumber": str(len(self.taken)), "ShardId": "shardId-000000000000"})
        return {"Records": results, "FailedRecordCount": sum("ErrorCode" in result for result in results)}
