"""Submits a task, follows its log to the end and prints the diff. Needs nothing but Python.

    SALLYPORT_URL=… SALLYPORT_TOKEN=slp_… python3 task.py REPOSITORY_URL PROMPT
"""

import json
import os
import sys
import urllib.request

SERVER = os.environ["SALLYPORT_URL"]
TOKEN = os.environ["SALLYPORT_TOKEN"]


def request(path, body=None):
    """Opens an address of the runner; an error carries the runner's own words."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    try:
        return urllib.request.urlopen(urllib.request.Request(SERVER + path, data, headers))
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        sys.exit(f"{problem['detail']} {problem['mend']} [{problem['code']}]")


def main(url, prompt):
    with request("/api/v1/tasks", {"prompt": prompt, "source": {"kind": "url", "url": url}}) as answer:
        task = json.load(answer)["id"]
    print("task", task)
    with request(f"/api/v1/tasks/{task}/logs") as log:
        for line in log:
            sys.stdout.write(line.decode())
    with request(f"/api/v1/tasks/{task}/diff") as diff:
        sys.stdout.write(diff.read().decode())


main(*sys.argv[1:])
