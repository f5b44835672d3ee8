// Runs every audit of graphql-http against the URL given as the first argument and prints, as one
// JSON array, what each of them found: id, name, status and, when it failed, the reason.
import { serverAudits } from 'graphql-http';

const [, , url] = process.argv;

const results = [];
for (const { fn } of serverAudits({ url })) {
  const { id, name, status, reason, response } = await fn();
  const answer = response && { status: response.status, body: await response.text().catch(() => null) };
  results.push({ id, name, status, reason, answer });
}
process.stdout.write(JSON.stringify(results));
