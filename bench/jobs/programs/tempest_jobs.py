"""Tempest for Python: a worker whose jobs do nothing, and a program that pushes many of them.

tempest_jobs.py fill JOBS BYTES BATCH
tempest_jobs.py work

`TEMPEST_REDIS_URL`, `TEMPEST_QUEUE` and `TEMPEST_CONCURRENCY` say where and how.
"""

import json
import os
import sys
import time

from tempest import Client, Draft, Worker


def fill(queue, jobs, size, batch):
    # As many as a backlog may have (SPEC "Limits"), whatever a client holds back by itself.
    with Client() as client:
        begun = time.perf_counter()
        for start in range(0, jobs, batch):
            numbers = range(start, min(start + batch, jobs))
            client.push_many(queue, [Draft("noop", "x" * size if size else number) for number in numbers])
        print(json.dumps({"jobs": jobs, "seconds": time.perf_counter() - begun}))


def work():
    worker, ran = Worker(), 0

    @worker.on("noop")
    def noop(_):
        nonlocal ran
        ran += 1

    worker.run()
    print(json.dumps({"ran": ran}))


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(os.environ["TEMPEST_QUEUE"], *map(int, sys.argv[2:]))
    else:
        work()
