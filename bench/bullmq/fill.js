// Adds many jobs in batches, and says how long that took.
//
// fill.js REDIS_PORT QUEUE JOBS BATCH BYTES   (BYTES: the data is a text so long; 0: a number)
"use strict";

const { Queue } = require("bullmq");

const [redisPort, name, ...numbers] = process.argv.slice(2);
const [count, size, bytes] = numbers.map(Number);
const opts = { removeOnComplete: true, removeOnFail: true };

const job = (number) => ({ name: "noop", data: bytes ? "x".repeat(bytes) : number, opts });

async function fill() {
  const queue = new Queue(name, { connection: { host: "127.0.0.1", port: Number(redisPort) } });
  await queue.waitUntilReady();
  const begun = process.hrtime.bigint();
  for (let from = 0; from < count; from += size) {
    const batch = Array.from({ length: Math.min(size, count - from) }, (_, place) => job(from + place));
    await queue.addBulk(batch);
  }
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  await queue.close();
  console.log(JSON.stringify({ jobs: count, seconds }));
}

fill().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
