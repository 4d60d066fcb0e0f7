#!/bin/sh
# Submits a task, follows its log to the end and prints the diff.
#   SALLYPORT_URL=… SALLYPORT_TOKEN=slp_… sh task.sh REPOSITORY_URL PROMPT
set -eu
auth="Authorization: Bearer $SALLYPORT_TOKEN"

body=$(URL=$1 PROMPT=$2 python3 -c 'import json, os
print(json.dumps({"prompt": os.environ["PROMPT"], "source": {"kind": "url", "url": os.environ["URL"]}}))')
# Of an error the runner's own words are shown: it says what to do.
id=$(curl -sS "$SALLYPORT_URL/api/v1/tasks" -H "$auth" -H 'Content-Type: application/json' -d "$body" |
  python3 -c 'import json, sys
answer = json.load(sys.stdin)
if "id" not in answer:
    sys.exit("{detail} {mend} [{code}]".format(**answer))
print(answer["id"])')

echo "task $id"
curl -sSN --fail-with-body "$SALLYPORT_URL/api/v1/tasks/$id/logs" -H "$auth"
curl -sS --fail-with-body "$SALLYPORT_URL/api/v1/tasks/$id/diff" -H "$auth"
