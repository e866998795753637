// A worker of BullMQ whose jobs say that they began; what is started for the first time lasts as long as this process.
//
// work.js REDIS_PORT QUEUE EARS_PORT OPTIONS   (OPTIONS: JSON, added to those of the Worker)
"use strict";

const dgram = require("node:dgram");
const { Worker } = require("bullmq");

const [redisPort, queue, earsPort, options] = process.argv.slice(2);
const ears = dgram.createSocket("udp4");
const say = (id, attempt) => ears.send(`${id} ${attempt} ${process.pid}`, Number(earsPort), "127.0.0.1");

async function hold(job) {
  // It was counted up for this start already.
  say(job.id, job.attemptsStarted);
  if (job.attemptsStarted === 1) await new Promise(() => {});
}

const connection = { host: "127.0.0.1", port: Number(redisPort), maxRetriesPerRequest: null };
const worker = new Worker(queue, hold, { connection, ...JSON.parse(options) });
worker.on("error", (error) => console.error(error.message));
worker.waitUntilReady().then(() => say("ready", 0));
