"""A worker that can be caught in the middle of a job: it says so in a file, and waits.

A target that begins with /hold is held on its first attempt, with `?until=cancelled` no longer than until that;
anything else, and every further attempt, is answered with the worker's pid and the attempt.
"""

import os
import time
from pathlib import Path

from tempest import Worker

worker = Worker()


@worker.on("url")
def answer(request, context):
    if request.url.startswith("/hold") and context.attempt == 1:
        told = Path(os.environ["HELD"])
        unready = told.with_suffix(".new")
        unready.write_text(str(os.getpid()))
        unready.rename(told)
        if request.query.get("until") == "cancelled":
            context.wait(60)
        else:
            time.sleep(60)
    return f"{os.getpid()} {context.attempt}"


if __name__ == "__main__":
    worker.run()
