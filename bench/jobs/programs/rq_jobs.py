"""RQ: a job that does nothing, a program that enqueues many of them, a worker.

rq_jobs.py fill REDIS_PORT QUEUE JOBS BYTES BATCH
rq_jobs.py work REDIS_PORT QUEUE simple|fork
"""

import json
import sys
import time

from redis import Redis
from rq import Queue, SimpleWorker, Worker


def noop(_):
    pass


def fill(queue, jobs, size, batch):
    # By its name, as a caller does it that does not import what the worker runs.
    begun = time.perf_counter()
    for start in range(0, jobs, batch):
        numbers = range(start, min(start + batch, jobs))
        queue.enqueue_many(
            Queue.prepare_data("rq_jobs.noop", ("x" * size if size else number,), result_ttl=0) for number in numbers
        )
    print(json.dumps({"jobs": jobs, "seconds": time.perf_counter() - begun}))


def work(queue, kind):
    worker = {"simple": SimpleWorker, "fork": Worker}[kind]([queue], default_result_ttl=0, log_job_description=False)
    worker.work(logging_level="WARNING")
    # It counts what it did where others can see it, so that the processes it forks count, too.
    print(json.dumps({"ran": int(queue.connection.hget(worker.key, "successful_job_count") or 0)}))


if __name__ == "__main__":
    what, port, name, *rest = sys.argv[1:]
    chosen = Queue(name, connection=Redis(port=int(port)))
    if what == "fill":
        fill(chosen, *map(int, rest))
    else:
        work(chosen, *rest)
