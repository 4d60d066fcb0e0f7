#!/bin/sh
# Submits a task, follows its log to the end and prints the diff.
#   SALLYPORT_URL=… SALLYPORT_TOKEN=slp_… sh task.sh REPOSITORY_URL PROMPT
set -eu
auth="Authorization: Bearer $SALLYPORT_TOKEN"

body=$(URL=$1 PROMPT=$2 python3 -c 'import json, os
print(json.dumps({"prompt": os.environ["PROMPT"], "source": {"kind": "url", "url": os.environ["URL"]}}))')
id=$(curl -sS --fail-with-body "$SALLYPORT_URL/api/v1/tasks" -H "$auth" -H 'Content-Type: application/json' -d "$body" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')

echo "task $id"
curl -sSN --fail-with-body "$SALLYPORT_URL/api/v1/tasks/$id/logs" -H "$auth"
curl -sS --fail-with-body "$SALLYPORT_URL/api/v1/tasks/$id/diff" -H "$auth"
