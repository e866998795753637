# A worker on the redis gem alone, crash-safe (L1), that writes down what it starts and ends: the evidence of the ledger.
# It is examples/hello/ruby with two differences: it does what an order says, and it remembers what it finished last, so
# that an ack whose answer was lost does not start a job again (rule 11 of the SPEC).
%w[json redis securerandom socket uri].each { |name| require name }

prefix, queue, name = ENV.fetch("TEMPEST_PREFIX", "tempest"), ENV.fetch("TEMPEST_QUEUE", "default"), ENV.fetch("CHAOS_WORKER")
host, tag = Socket.gethostname.gsub(/[^A-Za-z0-9._-]/, "-")[0, 40], ENV["TEMPEST_WORKER_TAG"] || SecureRandom.hex(6)
lane, mailbox = "#{prefix}:{#{queue}}", /\A#{Regexp.escape(prefix)}:mailbox:\{[A-Za-z0-9._-]{1,64}\}\z/
slot, lease, workers = "#{host}-#{$$}-#{tag}.0", "#{lane}:lease:#{host}-#{$$}-#{tag}", "#{lane}:workers"
url, limits = ENV.fetch("TEMPEST_REDIS_URL", "redis://127.0.0.1:6379"), { reconnect_attempts: 0 }
r, own = [4, 2].map { |timeout| Redis.new(url: url, timeout: timeout, **limits) } # `blmove` of the gem would be sent again: `call`
now, run = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }, "#{lane}:run:#{slot}"
beaten, lapses, stop, finished = -9, 0, false, [nil, []]
evidence = File.open(File.join(ENV.fetch("CHAOS_EVIDENCE"), "#{name}-#{$$}"), File::WRONLY | File::APPEND | File::CREAT)

beat = lambda do |redis| # counts lapses: more than a lease (3 s) since the beat before: others may have taken what we hold
  at, set = now.call, ["SET", lease, '{"lang":"ruby"}', "PX", 3000]
  redis.pipelined { |write| [["SADD", "#{prefix}:queues", queue], ["SADD", workers, slot], set].each { |one| write.call(*one) } }
  beaten, lapses = at, lapses + (at - beaten > 3 ? 1 : 0)
end

order_of = lambda do |job| # id, payload and how long it takes
  args = job["args"]
  return args.values_at("id", "payload", "ms") if job["action"] == "work"
  path, query = args["url"].split("?", 2)
  fields = URI.decode_www_form(query).to_h
  [path.split("/").last, args["body"] || fields["payload"], fields["ms"].to_i]
end

write = lambda do |what, id, attempt, payload| # one write for each line
  evidence.syswrite("#{what} #{Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)} #{name} #{$$} #{id} #{attempt} #{payload}\n")
end

carry_out = lambda do |job| # gives the commands that reply and ack
  (id, payload, ms), attempt = order_of.call(job), job["attempt"] || 1
  write.call("start", id, attempt, payload)
  sleep(ms / 1000.0)
  write.call("end", id, attempt, payload)
  said = { status: 200, headers: { "content-type": "text/plain" }, body: "#{id} #{payload}" }
  job["reply_to"] ? [["RPUSH", job["reply_to"], JSON.generate({ id: job["id"], attempt: attempt, **said })]] : []
end

settle = lambda do |frame| # reply and ack in one MULTI; again the same if its answer was lost
  if finished[0] != frame
    job, time = JSON.parse(frame.dup.force_encoding("UTF-8")), r.time[0] * 1000
    raise ArgumentError, "reply_to is no mailbox" unless job["reply_to"].nil? || mailbox.match?(job["reply_to"])
    expired = (job["deadline"] || 0).between?(1, time)
    finished = [frame, expired ? [] : carry_out.call(job)]
  end
  r.multi { |both| [*finished[1], ["LREM", run, 1, frame]].each { |command| both.call(*command) } }
end

%w[TERM INT].each { |signal| trap(signal) { stop = true } }
begin beat.call(r) rescue (sleep(0.2) && retry) end
Thread.new { loop { sleep(1) && beat.call(own) rescue warn("ruby: no beat: #{$!.message}") } } # on a connection of its own
until stop
  begin # no claim before a beat; then first what a cut connection left in the run list
    next beat.call(r) if now.call - beaten > 3
    before, frame = lapses, r.lindex(run, 0) || r.call("BLMOVE", lane, run, "LEFT", "RIGHT", 2)
    if before != lapses || now.call - beaten > 3 then beat.call(r) # then look again: it may be taken
    elsif frame && !stop then settle.call(frame) end
  rescue Redis::BaseError => error
    beaten = -9 # Redis may have forgotten this worker
    warn("ruby: #{error.message}") || sleep(0.2)
  end
end
nil while r.lmove(run, lane, "LEFT", "LEFT") # given back
r.srem(workers, slot)
r.del(lease)
