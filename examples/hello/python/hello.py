"""Hello on redis-py alone, crash-safe (L1): a job stays in the worker's own run list until it is answered."""

import base64, json, os, re, signal, socket, threading, time, redis

env, stop, beaten, count = os.environ.get, threading.Event(), [0.0, 0], 0
prefix, queue, tag = (
    env("TEMPEST_PREFIX", "tempest"),
    env("TEMPEST_QUEUE", "default"),
    env("TEMPEST_WORKER_TAG"),
)
slot = f"{re.sub('[^A-Za-z0-9._-]', '-', socket.gethostname())[:40]}-{os.getpid()}-{tag or os.urandom(6).hex()}.0"
lane, mailbox = (
    f"{prefix}:{{{queue}}}",
    re.escape(prefix) + r":mailbox:\{[A-Za-z0-9._-]{1,64}\}",
)
run, lease, workers = (
    f"{lane}:run:{slot}",
    f"{lane}:lease:{slot[:-2]}",
    f"{lane}:workers",
)
r, own = (redis.Redis.from_url(env("TEMPEST_REDIS_URL", "redis://127.0.0.1:6379"), socket_timeout=4) for _ in "12")


def beat(
    r,
):  # counts lapses: more than a lease (3 s) since the beat before, so others may have taken what we hold
    now, write = (
        time.monotonic(),
        r.pipeline(transaction=False).sadd(f"{prefix}:queues", queue).sadd(workers, slot),
    )
    write.set(lease, '{"lang":"python"}', px=3000).execute()
    beaten[:] = now, beaten[1] + (now - beaten[0] > 3)


def beats():  # on a connection of its own
    while not stop.wait(1):
        try:
            beat(own)
        except redis.RedisError as error:
            print("hello: no beat:", error, flush=True)


def settle(frame):  # in one MULTI: what becomes of the job, and its ack
    global count
    try:  # a MessagePack job ends here: this worker reads JSON alone
        job, now = json.loads(frame.decode(), parse_constant=int), r.time()[0] * 1000
        to, id, code = (
            job.get("reply_to"),
            job.get("id"),
            None if job["action"] == "url" else "no_handler",
        )
        if to and not re.fullmatch(mailbox, to):
            raise ValueError("reply_to is no mailbox")
        if 0 < (job.get("deadline") or 0) < now:
            code = "expired"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        job, to, id, code, now = (
            {"raw_base64": base64.b64encode(frame).decode()},
            None,
            None,
            "bad_job",
            r.time()[0] * 1000,
        )
    count, said, write = (
        count + (not code),
        {"error": {"code": code, "message": "hello does only url"}},
        r.pipeline(),
    )
    if code and not to:
        write.zadd(f"{lane}:dead", {json.dumps({**job, **said, "died_at": now}): now})
    if not code:
        said = {
            "status": 200,
            "headers": {"content-type": "text/plain; charset=utf-8"},
            "body": f"Hello world! #{count}",
        }
    if id and to and code != "expired":
        write.rpush(to, json.dumps({"id": id, "attempt": job.get("attempt") or 1, **said}))
    write.lrem(run, 1, frame).execute()


for number in signal.SIGTERM, signal.SIGINT:
    signal.signal(number, lambda *_: stop.set())
beat(r), threading.Thread(target=beats, daemon=True).start()
while not stop.is_set():
    try:  # no claim before a beat; then first what a cut connection left in the run list
        if time.monotonic() - beaten[0] > 3:
            beat(r)
        lapses, frame = beaten[1], r.lindex(run, 0) or r.blmove(lane, run, 2)
        if lapses != beaten[1] or time.monotonic() - beaten[0] > 3:
            beat(r)  # then look again: it may be taken
        elif frame and not stop.is_set():
            settle(frame)
    except redis.RedisError as error:
        beaten[0] = 0.0  # Redis may have forgotten this worker
        time.sleep(0.2), print("hello:", error, flush=True)
while r.lmove(run, lane, "LEFT", "LEFT"):
    pass  # given back
r.srem(workers, slot), r.delete(lease), print(f"hello: {count} done", flush=True)
