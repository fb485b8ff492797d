#!/usr/bin/env bash
# A pre-consume script for paperless-ngx (PAPERLESS_PRE_CONSUME_SCRIPT): hands and heads are off a photographed page
# before it is read by OCR and archived. docs/recipes.md says how to set it up.
#
# paperless-ngx names its working copy in DOCUMENT_WORKING_PATH. What cannot be restored (a letter as text, a broken
# file) is left as it is, with a line in paperless's log: code 0 all the same, or the document would be turned away.
# UNCOVER may name another command, such as "/opt/uncover/bin/uncover".
set -euo pipefail

document=${DOCUMENT_WORKING_PATH:?"is set by paperless-ngx"}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# Unquoted: a command of several words.
if ${UNCOVER:-uncover} restore "$document" "$results" && [ -f "$results/${document##*/}" ]; then
    # Into the file that is there, which keeps its owner and mode.
    cat "$results/${document##*/}" > "$document"
else
    echo "uncover: ${DOCUMENT_SOURCE_PATH:-$document} is archived as it came" >&2
fi
