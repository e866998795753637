"""Celery: a task that does nothing, and a program that sends many of them.

fill   celery_jobs.py JOBS BYTES group|producer
work   celery -A celery_jobs worker …

`BROKER` names the Redis, `CELERY` (JSON) the settings. Each process that ran tasks says at its end how many.
"""

import json
import os
import sys
import time

from celery import Celery, group, signals

# Nobody reads results; nothing of the rest is kept either.
app = Celery("celery_jobs", broker=os.environ["BROKER"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
app.conf.update(json.loads(os.environ.get("CELERY", "{}")))
ran = 0


@app.task
def noop(_):
    global ran
    ran += 1


@signals.worker_process_shutdown.connect
@signals.worker_shutdown.connect
def tell(**_):
    """Past what Celery makes of the standard output."""
    os.write(1, (json.dumps({"ran": ran}) + "\n").encode())


def by_group(given):
    group(noop.s(each) for each in given).apply_async()


def by_producer(given):
    with app.producer_pool.acquire(block=True) as producer:
        for each in given:
            noop.apply_async((each,), producer=producer)


def fill(jobs, size, how):
    with app.producer_pool.acquire(block=True) as producer:
        producer.connection.ensure_connection()
    begun = time.perf_counter()
    how("x" * size if size else number for number in range(jobs))
    print(json.dumps({"jobs": jobs, "seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    fill(int(sys.argv[1]), int(sys.argv[2]), {"group": by_group, "producer": by_producer}[sys.argv[3]])
