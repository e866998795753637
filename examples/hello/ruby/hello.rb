# Hello on the redis gem alone, crash-safe (L1): a job stays in the worker's own run list until it is answered.
%w[json redis securerandom socket].each { |name| require name }

prefix, queue = ENV.fetch("TEMPEST_PREFIX", "tempest"), ENV.fetch("TEMPEST_QUEUE", "default")
host, tag = Socket.gethostname.gsub(/[^A-Za-z0-9._-]/, "-")[0, 40], ENV["TEMPEST_WORKER_TAG"] || SecureRandom.hex(6)
lane, mailbox = "#{prefix}:{#{queue}}", /\A#{Regexp.escape(prefix)}:mailbox:\{[A-Za-z0-9._-]{1,64}\}\z/
slot, lease, workers = "#{host}-#{$$}-#{tag}.0", "#{lane}:lease:#{host}-#{$$}-#{tag}", "#{lane}:workers"
url, limits = ENV.fetch("TEMPEST_REDIS_URL", "redis://127.0.0.1:6379"), { reconnect_attempts: 0 }
r, own = [4, 2].map { |timeout| Redis.new(url: url, timeout: timeout, **limits) } # `blmove` of the gem would be sent again: `call`
now, run = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }, "#{lane}:run:#{slot}"
beaten, lapses, count, stop = -9, 0, 0, false

beat = lambda do |redis| # counts lapses: more than a lease (3 s) since the beat before: others may have taken what we hold
  at, set = now.call, ["SET", lease, '{"lang":"ruby"}', "PX", 3000]
  redis.pipelined { |write| [["SADD", "#{prefix}:queues", queue], ["SADD", workers, slot], set].each { |one| write.call(*one) } }
  beaten, lapses = at, lapses + (at - beaten > 3 ? 1 : 0)
end

settle = lambda do |frame| # in one MULTI: what becomes of the job, and its ack
  time = r.time[0] * 1000
  begin # a MessagePack job ends here: this worker reads JSON alone
    job = JSON.parse(frame.dup.force_encoding("UTF-8").encode("UTF-16").encode("UTF-8"), max_nesting: 64)
    to, id, code = job["reply_to"], job["id"], job.fetch("action") == "url" ? nil : "no_handler"
    raise ArgumentError, "reply_to is no mailbox" unless to.nil? || mailbox.match?(to)
    code = "expired" if (job["deadline"] || 0).between?(1, time)
  rescue StandardError
    job, to, id, code = { raw_base64: [frame].pack("m0") }, nil, nil, "bad_job"
  end
  count, said = count + (code ? 0 : 1), { error: { code: code, message: "hello does only url" } }
  dead = ["ZADD", "#{lane}:dead", time, JSON.generate({ **job, **said, died_at: time })] if code && !to
  said = { status: 200, headers: { "content-type": "text/plain; charset=utf-8" }, body: "Hello world! ##{count}" } unless code
  reply = ["RPUSH", to, JSON.generate({ id: id, attempt: job["attempt"] || 1, **said })] if id && to && code != "expired"
  r.multi { |both| [dead, reply, ["LREM", run, 1, frame]].compact.each { |command| both.call(*command) } }
end

%w[TERM INT].each { |name| trap(name) { stop = true } }
beat.call(r)
Thread.new { loop { sleep(1) && beat.call(own) rescue warn("hello: no beat: #{$!.message}") } } # on a connection of its own
until stop
  begin # no claim before a beat; then first what a cut connection left in the run list
    next beat.call(r) if now.call - beaten > 3
    before, frame = lapses, r.lindex(run, 0) || r.call("BLMOVE", lane, run, "LEFT", "RIGHT", 2)
    if before != lapses || now.call - beaten > 3 then beat.call(r) # then look again: it may be taken
    elsif frame && !stop then settle.call(frame) end
  rescue Redis::BaseError => error
    beaten = -9 # Redis may have forgotten this worker
    warn("hello: #{error.message}") || sleep(0.2)
  end
end
nil while r.lmove(run, lane, "LEFT", "LEFT") # given back
r.srem(workers, slot)
r.del(lease)
puts "hello: #{count} done"
