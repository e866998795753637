#!/bin/sh
# Publishes the time at each full second. All it takes is redis-cli, here as one connection that is fed by a pipe.
topic=${TEMPEST_TOPIC_PREFIX:-}clock

while printf 'PUBLISH %s %s\n' "$topic" "$(date -u +%FT%TZ)"; do
  sleep "$(date +0.%N | awk '{ print 1 - $1 }')"
done | redis-cli -u "${TEMPEST_REDIS_URL:-redis://127.0.0.1:6379}" >/dev/null
