# shellcheck shell=bash
# What Tempest's scripts need from the machine, one question per tool. Sourced, never run.
#
# Each `have_*` answers by its exit code alone, asks the tool itself rather than a package manager (so a tool from
# elsewhere counts) and prints nothing. Installing is not done here: see script/bootstrap.

REDIS_MAJOR_MIN=7
NODE_MAJOR_MIN=18

# The server's program name: redis-server, else valkey-server; empty when neither is on PATH.
redis_program() {
  local name
  for name in redis-server valkey-server; do
    if command -v "$name" >/dev/null; then
      echo "$name"
      return 0
    fi
  done
  return 1
}

# The version of the server on PATH ("7.0.15"), empty when there is none.
redis_version() {
  local program
  program=$(redis_program) || return 1
  "$program" --version 2>/dev/null | sed -n 's/.* v=\([0-9][0-9.]*\).*/\1/p'
}

# True when version $1 ("7.0.15", or a Debian one such as "5:7.0.15-1~deb12u1") is new enough.
redis_version_serves() {
  local major=${1#*:}
  major=${major%%.*}
  [[ $major =~ ^[0-9]+$ ]] && ((major >= REDIS_MAJOR_MIN))
}

have_redis() {
  local version
  version=$(redis_version) && redis_version_serves "$version"
}

have_valkey() { command -v valkey-server >/dev/null; }
# Some builds of it speak no TLS: they do not know its options, or do not find it. Without a certificate none starts.
have_valkey_tls() {
  local said
  said=$(timeout 10 valkey-server --port 0 --tls-port 1 --tls-cert-file /dev/null --tls-key-file /dev/null 2>&1) || true
  [[ $said != *"'tls-"* && $said != *"finding TLS support"* ]]
}
have_redis_cli() { command -v redis-cli >/dev/null; }
have_curl() { command -v curl >/dev/null; }
have_siege() { command -v siege >/dev/null; }
have_h2load() { command -v h2load >/dev/null && command -v nghttp >/dev/null; }
have_openssl() { command -v openssl >/dev/null; }
# Debian has it in a folder that only root has on PATH.
have_nginx() { command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]]; }
have_nchan() {
  local folder
  for folder in ${NGINX_MODULES:+"$NGINX_MODULES"} /usr/{lib,share}/nginx/modules; do
    [[ ! -e $folder/ngx_nchan_module.so ]] || return 0
  done
  return 1
}
have_caddy() { command -v caddy >/dev/null; }
have_systemd_analyze() { command -v systemd-analyze >/dev/null; }
have_ab() { command -v ab >/dev/null; }
have_wrk() { command -v wrk >/dev/null; }
have_valgrind() { command -v valgrind >/dev/null; }
have_perf() { command -v perf >/dev/null; }
have_shellcheck() { command -v shellcheck >/dev/null; }
have_npm() { command -v npm >/dev/null; }

# The whole browser has the same headless mode as the package without windows.
have_chromium() {
  command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || command -v google-chrome >/dev/null
}

# A compiler driver alone is not enough: without the C library's development files rustc cannot link.
have_linker() {
  command -v cc >/dev/null && cc -x c -o /dev/null - 2>/dev/null <<<'int main(void) { return 0; }'
}

# cargo and git both trust the system's certificates; a slim image has none.
have_certificates() {
  [[ -n ${SSL_CERT_FILE:-} || -s /etc/ssl/certs/ca-certificates.crt || -s /etc/ssl/cert.pem ]]
}

# Prints the first Python that is 3.10 or newer and can make a venv with pip in it.
python_program() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$name"
      return 0
    fi
  done
  return 1
}

have_python() { python_program >/dev/null; }

have_ruby() { ruby -e 'require "redis"' 2>/dev/null; }

have_node() {
  local version
  version=$(node --version 2>/dev/null) || return 1
  version=${version#v}
  [[ ${version%%.*} =~ ^[0-9]+$ ]] && ((${version%%.*} >= NODE_MAJOR_MIN))
}

# rustup installs here, but a script started by cron or a desktop has not read the profile that adds it to PATH.
have_cargo() {
  if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
  fi
  command -v cargo >/dev/null
}
