#!/bin/sh
# A worker in plain sh with redis-cli, crash-safe (L1), that writes down what it starts and ends: the evidence of the ledger.
# It is examples/hello/sh with two differences: it does what an order says, and it remembers what it finished last, so that
# an ack whose answer was lost does not start a job again (rule 11 of the SPEC). It reads orders of bench/chaos alone.
prefix=${TEMPEST_PREFIX:-tempest} queue=${TEMPEST_QUEUE:-default} name=$CHAOS_WORKER stop=
tag=${TEMPEST_WORKER_TAG:-$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')} lane="$prefix:{$queue}"
worker="$(uname -n | tr -c 'A-Za-z0-9._\n-' - | cut -c1-40)-$$-$tag" run="$lane:run:$worker.0" job=$(mktemp) || exit 1
evidence=$CHAOS_EVIDENCE/$name-$$ http='"status":200,"headers":{"content-type":"text/plain"}'

cli() { timeout 4 redis-cli -e -u "${TEMPEST_REDIS_URL:-redis://127.0.0.1:6379}" "$@" 2>/dev/null; }
beat() {
  printf 'SADD %s:queues %s\nSADD %s:workers %s.0\nSET %s:lease:%s "{\\"lang\\":\\"sh\\"}" PX 3000\n' \
    "$prefix" "$queue" "$lane" "$worker" "$lane" "$worker" | cli >/dev/null && looked=$(date +%s)
}
beats() { # in the background: ends when this shell is gone, is silent while it is stopped
  while sleep 1 && read -r _ _ state _ <"/proc/$$/stat"; do
    case $state in [Tt]) ;; [ZX]) return ;; *) beat ;; esac
  done 2>/dev/null
}
field() { printf %s "$2" | sed -nE "s/.*\"$1\" *: *(\"([^\"]*)\"|([0-9]+)).*/\\2\\3/p"; }
read_order() { # the envelope, since `args` comes last, and the order in it: all its texts are letters and digits
  envelope=$(sed 's/"args":.*/}/' "$job") args=$(sed 's/.*"args"://' "$job")
  reply_to=$(field reply_to "$envelope") deadline=$(field deadline "$envelope")
  id=$(field id "$envelope") attempt=$(field attempt "$envelope")
  order=$(field id "$args") payload=$(field payload "$args") ms=$(field ms "$args") url=$(field url "$args")
  [ -n "$url" ] || return 0
  order=${url%%\?*} order=${order##*/} payload=$(field body "$args")
  ms=$(printf %s "$url" | sed -nE 's/.*[?&]ms=([0-9]+).*/\1/p')
  [ -n "$payload" ] || payload=$(printf %s "$url" | sed -nE 's/.*[?&]payload=([0-9a-z]+).*/\1/p')
}
write() { printf '%s %s %s %s %s %s %s\n' "$1" "$(date +%s%3N)" "$name" $$ "$order" "${attempt:-1}" "$payload" >>"$evidence"; }
carry_out() {
  write start
  sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
  write end
  said="$http,\"body\":\"$order $payload\""
}
settle() { # reply first, ack second: dying between the two gives a duplicate, never a loss
  if ! cmp -s "$job" "$job.done"; then
    read_order && said='' now=$(cli TIME | head -n 1)000 || return
    [ $(($(date +%s) - looked)) -lt 3 ] || return # fenced: what was read may be somebody else's by now
    if [ "${deadline:-0}" -eq 0 ] || [ "$deadline" -ge "$now" ]; then carry_out; fi
    mv "$job" "$job.done"
  fi
  if [ -n "$said" ] && [ -n "$reply_to" ]; then
    cli RPUSH "$reply_to" "{\"id\":\"$id\",\"attempt\":${attempt:-1},$said}" >/dev/null || return
  fi
  cli -x LREM "$run" 1 <"$job.done" >/dev/null
}

trap 'stop=1' TERM INT
until beat || [ -n "$stop" ]; do sleep 1; done
beats &
while [ -z "$stop" ]; do # a job is started only after a beat and a look into the run list
  if beat; then held=$(cli LLEN "$run"); else held=''; fi
  case $held in
    0) cli BLMOVE "$lane" "$run" LEFT RIGHT 2 >/dev/null ;;
    [1-9]*) if cli LINDEX "$run" 0 >"$job.raw" && head -c -1 "$job.raw" >"$job" && [ -s "$job" ]; then settle; fi ;;
    *) sleep 1 ;;
  esac
done
while [ -n "$(cli LMOVE "$run" "$lane" LEFT LEFT)" ]; do :; done # given back
cli SREM "$lane:workers" "$worker.0" >/dev/null && cli DEL "$lane:lease:$worker" >/dev/null
kill $! && rm -f "$job" "$job.raw" "$job.done"
