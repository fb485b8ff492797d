#!/usr/bin/env bash
# Restores what is dropped into a folder: watch_folder.sh INBOX RESULTS [SECONDS]
#
# Looks every SECONDS (5), and begins when nothing in INBOX has changed since the last look, so that no photo is taken
# that is still being copied. What has a result is not done again; a photo that failed is tried again when something
# in INBOX changes. Photos stay where they are. It runs until ctrl-C, or until its service is stopped.
# UNCOVER may name another command, such as "/opt/uncover/bin/uncover".
set -euo pipefail

inbox=${1:?"names no INBOX: watch_folder.sh INBOX RESULTS [SECONDS]"}
results=${2:?"names no RESULTS: watch_folder.sh INBOX RESULTS [SECONDS]"}
before= finished=
while true; do
    # Names, sizes and times; a linked photo is one too. A file that is gone meanwhile changes what follows.
    now=$(find "$inbox/" ! -type d -printf '%p %s %T@\n' | sort)
    if [ -n "$now" ] && [ "$now" = "$before" ] && [ "$now" != "$finished" ]; then
        code=0
        # Unquoted: a command of several words.
        ${UNCOVER:-uncover} restore "$inbox" "$results" || code=$?
        [ "$code" -lt 128 ] || exit "$code"
        finished=$now
    fi
    before=$now
    sleep "${3:-5}"
done
