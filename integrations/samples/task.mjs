// Submits a task, follows its log to the end and prints the diff. Needs nothing but Node.js.
//   SALLYPORT_URL=… SALLYPORT_TOKEN=slp_… node task.mjs REPOSITORY_URL PROMPT
const { SALLYPORT_URL: server, SALLYPORT_TOKEN: token } = process.env;
const [url, prompt] = process.argv.slice(2);

/** Answers with what the runner answers; an error carries the runner's own words. */
async function request(path, body) {
  const answer = await fetch(server + path, {
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  });
  if (answer.ok) return answer;
  const { detail, mend, code } = await answer.json();
  throw new Error(`${detail} ${mend} [${code}]`);
}

const submitted = await request('/api/v1/tasks', { prompt, source: { kind: 'url', url } });
const { id } = await submitted.json();
console.log('task', id);
const log = await request(`/api/v1/tasks/${id}/logs`);
for await (const part of log.body.pipeThrough(new TextDecoderStream())) process.stdout.write(part);
const diff = await request(`/api/v1/tasks/${id}/diff`);
process.stdout.write(await diff.text());
