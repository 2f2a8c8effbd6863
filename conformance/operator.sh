#!/bin/bash
# A day in the life of a server: signals, clocks that are set, full and read-only disks, descriptors that
# are used up, configuration files of distributions.
#
#   conformance/operator.sh [path of the lodestore binary]
#
# What the machine cannot do (mounting a tmpfs, libfaketime, prlimit) is skipped with a line that says so.
# The last line is "N checks passed, N failed, N skipped"; the exit code is 1 when one failed.
set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
binary=${1:-$root/target/release/lodestore}
[ -x "$binary" ] || { echo "no server at $binary: cargo build --release -p lodestore" >&2; exit 1; }

work=$(mktemp -d)
server=
mounted=
passed=0 failed=0 skipped=0
port=$((20000 + $$ % 10000))

end_server() {
    [ -z "$server" ] || { kill -9 "$server" 2>/dev/null; wait "$server" 2>/dev/null; server=; }
}
clean_up() {
    end_server
    [ -z "$mounted" ] || umount "$mounted" 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

pass() { passed=$((passed + 1)); echo "ok       $1"; }
fail() { failed=$((failed + 1)); echo "FAILED   $1: $2"; }
skip() { skipped=$((skipped + 1)); echo "skipped  $1: $2"; }

# check <what> <expected> <found>
check() {
    if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "expected '$2', found '$3'"; fi
}

# The first line of the reply to an inline request, without the CR; empty when none comes in time.
ask() {
    local line=
    exec 9<>"/dev/tcp/127.0.0.1/$port" 2>/dev/null || return 0
    printf '%s\r\n' "$1" >&9 2>/dev/null
    IFS= read -r -t "${2:-20}" line <&9 || line=
    exec 9<&- 9>&-
    printf '%s' "${line%$'\r'}"
}

# A field of INFO.
info() {
    local line=
    exec 9<>"/dev/tcp/127.0.0.1/$port" 2>/dev/null || return 0
    printf 'INFO everything\r\nQUIT\r\n' >&9
    while IFS= read -r -t 20 line <&9; do
        line=${line%$'\r'}
        case $line in "$1":*) printf '%s' "${line#*:}"; break ;; esac
    done
    exec 9<&- 9>&-
}

# wait_for <what> <command that prints> <wanted>: at most a minute, which decides no result.
wait_for() {
    local tries=0
    until [ "$(eval "$2")" = "$3" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { fail "$1" "found '$(eval "$2")'"; return 1; }
        sleep 0.1
    done
    pass "$1"
}

# start <directory> [options]: returns when the server answers, 1 when it ends instead.
start() {
    local dir=$1
    shift
    port=$((port + 1))
    $prefix "$binary" --port "$port" --bind 127.0.0.1 --dir "$dir" "$@" >"$dir/stdout" 2>&1 &
    server=$!
    local tries=0
    until [ "$(ask PING 2 2>/dev/null)" = "+PONG" ]; do
        kill -0 "$server" 2>/dev/null || { server=; return 1; }
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { fail start "no answer: $(tail -3 "$dir/stdout")"; end_server; return 1; }
        sleep 0.1
    done
}
prefix=

signals() {
    local dir=$work/signals
    mkdir "$dir"
    start "$dir" --logfile "$dir/server.log" --appendonly yes || { fail signals "no start"; return; }
    for name in HUP USR1 USR2 ALRM VTALRM PROF IO PIPE XFSZ; do
        kill -s "$name" "$server"
        check "SIG$name is survived" +PONG "$(ask PING)"
    done
    mv "$dir/server.log" "$dir/server.log.1"
    kill -s HUP "$server"
    wait_for "SIGHUP opens the log file anew" "[ -e '$dir/server.log' ] && echo yes" yes
    check "a write" +OK "$(ask 'SET kept 1')"
    kill -s TERM "$server"; wait "$server"; check "SIGTERM ends it in order" 0 $?; server=
    start "$dir" --appendonly yes && check "what was written is there" ':1' "$(ask 'EXISTS kept')"
    kill -s INT "$server"; wait "$server"; check "SIGINT ends it in order" 0 $?; server=
    start "$dir" --logfile "$dir/crash.log" || return
    kill -s SEGV "$server"; wait "$server" 2>/dev/null; server=
    if grep -q 'crashed by signal: 11' "$dir/crash.log"; then pass "SIGSEGV leaves a report"; else fail report "none"; fi
}

clocks() {
    local library
    library=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 2>/dev/null | head -1)
    [ -n "$library" ] || { skip clocks "libfaketime is not installed"; return; }
    local dir=$work/clock
    mkdir "$dir"
    echo '+0' >"$dir/time"
    export LD_PRELOAD=$library FAKETIME_TIMESTAMP_FILE=$dir/time FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
    start "$dir" --appendonly yes --save '1 1'
    local started=$?
    unset LD_PRELOAD
    [ $started = 0 ] || { fail clocks "no start"; return; }
    ask 'SET before 1' >/dev/null
    echo '-2h' >"$dir/time"
    check "a wait ends after the clock was set back" '*-1' "$(ask 'BLPOP nothing 0.2')"
    check "a write after the clock was set back" +OK "$(ask 'SET after 1')"
    wait_for "a save point is reached" 'info rdb_changes_since_last_save' 0
    kill -s TERM "$server"; wait "$server"; check "SIGTERM is acted on" 0 $?; server=
}

disks() {
    local dir=$work/disk
    mkdir "$dir"
    if ! mount -t tmpfs -o size=4m none "$dir" 2>/dev/null; then
        skip disks "a tmpfs cannot be mounted"
        return
    fi
    mounted=$dir
    start "$dir" --appendonly yes --save '' --logfile "$work/disk.log" || { fail disks "no start"; return; }
    ask 'SET first 1' >/dev/null
    head -c 8m /dev/zero >"$dir/filler" 2>/dev/null
    # Until the page of the log is full as well.
    local n=0
    while [ "$(info aof_last_write_status)" = ok ] && [ $n -lt 200 ]; do
        ask "SET filler:$n $(printf '%01000d' $n)" 1 >/dev/null
        n=$((n + 1))
    done
    check "the log is broken" err "$(info aof_last_write_status)"
    case $(ask 'SET refused 1') in -MISCONF*) pass "writes are refused" ;; *) fail refusal "none" ;; esac
    check "CONFIG SET is answered" +OK "$(ask 'CONFIG SET maxmemory-samples 6')"
    case $(ask DBSIZE) in :*) pass "DBSIZE is answered" ;; *) fail DBSIZE "no answer" ;; esac
    sleep 5
    local complaints
    complaints=$(grep -c 'AOF' "$work/disk.log")
    if [ "$complaints" -le 4 ]; then pass "the log complains now and then"; else fail complaints "$complaints lines"; fi
    rm "$dir/filler"
    wait_for "writes go on when there is room" "ask 'SET again 1' 2" +OK
    kill -9 "$server"; wait "$server" 2>/dev/null; server=
    start "$dir" --appendonly yes --save '' && check "what was acknowledged is there" ':2' "$(ask 'EXISTS first again')"
    if mount -o remount,ro "$dir" 2>/dev/null; then
        case $(ask 'SET readonly 1' 3) in +OK) fail "a read-only disk" "+OK" ;; *) pass "a read-only disk refuses" ;; esac
        check "reads go on" ':1' "$(ask 'EXISTS first')"
        check "the way out" +OK "$(ask 'CONFIG SET appendonly no')"
        mount -o remount,rw "$dir"
    else
        skip "a read-only disk" "the tmpfs cannot be remounted"
    fi
    end_server
    umount "$dir" && mounted=
}

descriptors() {
    command -v prlimit >/dev/null || { skip descriptors "prlimit is not installed"; return; }
    [ -d /proc/self/fd ] || { skip descriptors "there is no /proc"; return; }
    local dir=$work/descriptors
    mkdir "$dir"
    start "$dir" || { fail descriptors "no start"; return; }
    local open
    open=$(ls "/proc/$server/fd" | wc -l)
    prlimit --pid "$server" --nofile="$open:" 2>/dev/null || { skip descriptors "prlimit is refused"; end_server; return; }
    exec 8<>"/dev/tcp/127.0.0.1/$port"
    printf 'PING\r\n' >&8
    sleep 1
    prlimit --pid "$server" --nofile="$((open + 100)):"
    local line=
    IFS= read -r -t 30 line <&8
    exec 8<&- 8>&-
    check "a connection that waited is accepted" +PONG "${line%$'\r'}"
    end_server
}

# What the packages of five distributions set in their files, in the words of those files.
configurations() {
    local dir name
    for name in debian fedora alpine bitnami homebrew; do
        dir=$work/$name
        mkdir "$dir"
        {
            echo "protected-mode yes"
            echo "tcp-backlog 511"
            echo "timeout 0"
            echo "tcp-keepalive 300"
            echo "daemonize no"
            echo "loglevel notice"
            echo "logfile \"\""
            echo "databases 16"
            echo "always-show-logo no"
            echo "set-proc-title yes"
            echo "proc-title-template \"{title} {listen-addr} {server-mode}\""
            echo "stop-writes-on-bgsave-error yes"
            echo "rdbcompression yes"
            echo "rdbchecksum yes"
            echo "dbfilename dump.rdb"
            echo "rdb-del-sync-files no"
            echo "replica-serve-stale-data yes"
            echo "replica-read-only yes"
            echo "repl-diskless-sync yes"
            echo "repl-diskless-sync-delay 5"
            echo "repl-disable-tcp-nodelay no"
            echo "replica-priority 100"
            echo "acllog-max-len 128"
            echo "lazyfree-lazy-eviction no"
            echo "lazyfree-lazy-expire no"
            echo "lazyfree-lazy-server-del no"
            echo "replica-lazy-flush no"
            echo "lazyfree-lazy-user-del no"
            echo "oom-score-adj no"
            echo "oom-score-adj-values 0 200 800"
            echo "disable-thp yes"
            echo "appendfilename \"appendonly.aof\""
            echo "appenddirname \"appendonlydir\""
            echo "appendfsync everysec"
            echo "no-appendfsync-on-rewrite no"
            echo "auto-aof-rewrite-percentage 100"
            echo "auto-aof-rewrite-min-size 64mb"
            echo "aof-load-truncated yes"
            echo "aof-use-rdb-preamble yes"
            echo "aof-timestamp-enabled no"
            echo "slowlog-log-slower-than 10000"
            echo "slowlog-max-len 128"
            echo "latency-monitor-threshold 0"
            echo "notify-keyspace-events \"\""
            echo "hash-max-listpack-entries 512"
            echo "list-max-listpack-size -2"
            echo "list-compress-depth 0"
            echo "set-max-intset-entries 512"
            echo "zset-max-listpack-entries 128"
            echo "hll-sparse-max-bytes 3000"
            echo "stream-node-max-bytes 4096"
            echo "activerehashing yes"
            echo "client-output-buffer-limit normal 0 0 0"
            echo "client-output-buffer-limit replica 256mb 64mb 60"
            echo "client-output-buffer-limit pubsub 32mb 8mb 60"
            echo "hz 10"
            echo "dynamic-hz yes"
            echo "aof-rewrite-incremental-fsync yes"
            echo "rdb-save-incremental-fsync yes"
            echo "jemalloc-bg-thread yes"
            case $name in
            debian)
                echo "pidfile $dir/redis-server.pid"
                echo "include $dir/conf.d/*.conf"
                ;;
            fedora) echo "unixsocketperm 770" ;;
            alpine) echo "unixsocket $dir/redis.sock" ;;
            bitnami)
                echo "appendonly yes"
                echo "save 900 1 300 10 60 10000"
                echo "io-threads 1"
                ;;
            homebrew) echo "user default on nopass sanitize-payload ~* &* +@all" ;;
            esac
        } >"$dir/redis.conf"
        port=$((port + 1))
        "$binary" "$dir/redis.conf" --port "$port" --bind 127.0.0.1 --dir "$dir" >"$dir/stdout" 2>&1 &
        server=$!
        wait_for "the file of $name starts" 'ask PING 2' +PONG || tail -5 "$dir/stdout"
        check "CONFIG REWRITE of $name" +OK "$(ask 'CONFIG REWRITE')"
        end_server
        "$binary" "$dir/redis.conf" --port "$port" --bind 127.0.0.1 --dir "$dir" >"$dir/stdout" 2>&1 &
        server=$!
        wait_for "the rewritten file of $name starts" 'ask PING 2' +PONG || tail -5 "$dir/stdout"
        end_server
    done
    dir=$work/users
    mkdir "$dir"
    echo 'user alice on >secret ~* &* +@all' >"$dir/redis.conf"
    if "$binary" "$dir/redis.conf" --port "$port" --dir "$dir" >"$dir/stdout" 2>&1; then
        fail "a user that cannot be kept" "the server started"
    else
        pass "a user that cannot be kept ends the start"
    fi
}

signals
clocks
disks
descriptors
configurations
echo "$passed checks passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
