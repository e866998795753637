// Hello on ioredis alone, crash-safe (L1): a job stays in the worker's own run list until it is answered.
const { Redis } = require("ioredis");

const { TEMPEST_PREFIX: prefix = "tempest", TEMPEST_QUEUE: queue = "default", TEMPEST_REDIS_URL: url } = process.env;
const host = require("node:os").hostname().replace(/[^A-Za-z0-9._-]/g, "-").slice(0, 40);
const worker = `${host}-${process.pid}-${process.env.TEMPEST_WORKER_TAG || require("node:crypto").randomBytes(6).toString("hex")}`;
const mailbox = new RegExp(`^${prefix.replaceAll(".", "\\.")}:mailbox:\\{[A-Za-z0-9._-]{1,64}\\}$`);
const [lane, workers, slot] = [`${prefix}:{${queue}}`, `${prefix}:{${queue}}:workers`, `${worker}.0`];
const [run, lease] = [`${lane}:run:${slot}`, `${lane}:lease:${worker}`];
const limits = { maxRetriesPerRequest: 0 }; // what a cut connection leaves open fails, and is not silently sent again
const [r, own] = [4000, 2000].map((commandTimeout) => new Redis(url || "redis://127.0.0.1:6379", { ...limits, commandTimeout }));
const say = (error) => console.error(`hello: ${error.message}`);
let [beaten, lapses, count, stop] = [-9e9, 0, 0, false];

async function all(write) { // carries out a pipeline or MULTI; throws its first error
  for (const [error] of await write.exec()) if (error) throw error;
}

async function beat() { // counts lapses: more than a lease (3 s) since the beat before: others may have taken what we hold
  const at = performance.now();
  await all(own.pipeline().sadd(`${prefix}:queues`, queue).sadd(workers, slot).set(lease, '{"lang":"node"}', "PX", 3000));
  [beaten, lapses] = [at, lapses + (at - beaten > 3000 ? 1 : 0)];
}

function read(frame) { // a job, and the code if it is not to be done; a MessagePack job ends here: JSON alone is read
  try {
    const job = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(frame));
    if (typeof job.action !== "string" || (job.reply_to && !mailbox.test(job.reply_to))) throw job;
    return [job, job.action === "url" ? null : "no_handler"];
  } catch { return [{ raw_base64: frame.toString("base64") }, "bad_job"]; }
}

async function settle(frame) { // in one MULTI: what becomes of the job, and its ack
  const [now, [job, wrong], both] = [Number((await r.time())[0]) * 1000, read(frame), r.multi()];
  const [{ id, attempt, reply_to: to }, code] = [job, job.deadline > 0 && job.deadline < now ? "expired" : wrong];
  let said = { error: { code, message: "hello does only url" } };
  if (code && !to) both.zadd(`${lane}:dead`, now, JSON.stringify({ ...job, ...said, died_at: now }));
  if (!code) said = { status: 200, headers: { "content-type": "text/plain; charset=utf-8" }, body: `Hello world! #${++count}` };
  if (id && to && code !== "expired") both.rpush(to, JSON.stringify({ id, attempt: attempt || 1, ...said }));
  await all(both.lrem(run, 1, frame));
}

async function turn() {
  if (performance.now() - beaten > 3000) return beat(); // no claim before a beat
  const before = lapses; // then first what a cut connection left in the run list
  const frame = (await r.lindexBuffer(run, 0)) || (await r.blmoveBuffer(lane, run, "LEFT", "RIGHT", 2));
  if (before !== lapses || performance.now() - beaten > 3000) await beat(); // then look again: it may be taken
  else if (frame && !stop) await settle(frame);
}

async function main() {
  for (const redis of [r, own]) redis.on("error", say);
  for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => { stop = true; });
  await beat().then(() => setInterval(() => beat().catch(say), 1000));
  const again = (error) => { // Redis may have forgotten this worker
    beaten = -9e9;
    say(error);
    r.disconnect(true);
    return new Promise((resolve) => setTimeout(resolve, 200));
  };
  while (!stop) await turn().catch(again); // an answer past its limit is not waited for: the connection goes
  while (await r.lmove(run, lane, "LEFT", "LEFT")); // given back
  await all(r.pipeline().srem(workers, slot).del(lease));
  console.log(`hello: ${count} done`) || process.exit(0);
}

main();
