#!/bin/sh
# Hello in plain sh with redis-cli, crash-safe (L1): a job stays in the worker's own run list until it is answered.
prefix=${TEMPEST_PREFIX:-tempest} queue=${TEMPEST_QUEUE:-default} count=0 stop=
tag=${TEMPEST_WORKER_TAG:-$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')} lane="$prefix:{$queue}"
worker="$(uname -n | tr -c 'A-Za-z0-9._\n-' - | cut -c1-40)-$$-$tag" run="$lane:run:$worker.0" job=$(mktemp) || exit 1
http='"status":200,"headers":{"content-type":"text/plain; charset=utf-8"}'

cli() { timeout 4 redis-cli -e -u "${TEMPEST_REDIS_URL:-redis://127.0.0.1:6379}" "$@" 2>/dev/null; }
beat() {
  printf 'SADD %s:queues %s\nSADD %s:workers %s.0\nSET %s:lease:%s "{\\"lang\\":\\"sh\\"}" PX 3000\n' \
    "$prefix" "$queue" "$lane" "$worker" "$lane" "$worker" | cli | tail -n 1 | grep -qx OK # the lease was set
}
beats() { # in the background: ends with this shell and its file, is silent while it is stopped
  while sleep 1 && [ -e "$job" ] && read -r _ _ state _ <"/proc/$$/stat"; do
    case $state in [Tt]) ;; [ZX]) return ;; *) beat ;; esac
  done 2>/dev/null
}
field() { printf %s "$envelope" | sed -nE "s/.*\"$1\" *: *(\"([^\"]*)\"|([0-9]+)).*/\\2\\3/p"; } # `args` comes last
read_job() { # a MessagePack job ends here: this worker reads JSON alone
  envelope=$(tr -d '\000\n\r\t' <"$job" | sed 's/^ *//; s/"args" *:.*/}/; s/ *$//')
  action=$(field action) id=$(field id) reply_to=$(field reply_to) attempt=$(field attempt) deadline=$(field deadline)
  case $envelope in "{"*"}") ;; *) return 1 ;; esac
  printf '%s %s %s' "$action" "${id:--}" "${reply_to:-$prefix:mailbox:{-\}}" |
    LC_ALL=C grep -qE "^[A-Za-z0-9._-]+ [A-Za-z0-9._-]+ $prefix:mailbox:\{[A-Za-z0-9._-]+\}\$"
}
bury() { # out of the run list and into dead, both or neither; the job as \x escapes, since it may be any bytes
  dead="{\\\"error\\\":{\\\"code\\\":\\\"$1\\\",\\\"message\\\":\\\"hello does only url\\\"},\\\"died_at\\\":$now"
  dead="$dead,\\\"raw_base64\\\":\\\"$(base64 <"$job" | tr -d '\n')\\\"}"
  bytes=$(od -An -v -tx1 "$job" | tr -d ' \n' | sed 's/../\\x&/g')
  printf '%s\n' MULTI "ZADD $lane:dead $now \"$dead\"" "LREM $run 1 \"$bytes\"" EXEC | cli >/dev/null
}
settle() { # reply first, ack second: dying between the two gives a duplicate, never a loss
  now=$(cli TIME | head -n 1)000 code=no_handler
  [ -s "$job" ] || { cli LREM "$run" 1 "" >/dev/null; return; } # empty: nothing to keep
  read_job || { bury bad_job; return; }
  [ "$action" != url ] || code=
  [ "${deadline:-0}" -eq 0 ] || [ "$deadline" -ge "$now" ] || code=expired
  [ -z "$code" ] || [ -n "$reply_to" ] || { bury $code; return; }
  said="\"error\":{\"code\":\"$code\",\"message\":\"hello does only url\"}"
  [ -n "$code" ] || { count=$((count + 1)) && said="$http,\"body\":\"Hello world! #$count\""; }
  if [ -n "$id" ] && [ -n "$reply_to" ] && [ "$code" != expired ]; then
    cli RPUSH "$reply_to" "{\"id\":\"$id\",\"attempt\":${attempt:-1},$said}" >/dev/null || return
  fi
  cli -x LREM "$run" 1 <"$job" >/dev/null
}

trap 'stop=1' TERM INT
until beat || [ -n "$stop" ]; do echo "hello: no Redis yet" >&2 && sleep 1; done
beats &
while [ -z "$stop" ]; do # a job is started only after a beat and a look into the run list
  case $(beat && cli LLEN "$run") in
    0) cli BLMOVE "$lane" "$run" LEFT RIGHT 2 >/dev/null ;;
    [1-9]*) if cli LINDEX "$run" 0 >"$job.raw" && head -c -1 "$job.raw" >"$job"; then settle; fi ;;
    *) sleep 1 ;;
  esac
done
while [ -n "$(cli LMOVE "$run" "$lane" LEFT LEFT)" ]; do :; done # given back
rm -f "$job" "$job.raw" && wait # for the last beat, which would bring the lease back
cli SREM "$lane:workers" "$worker.0" >/dev/null && cli DEL "$lane:lease:$worker" >/dev/null
echo "hello: $count done"
