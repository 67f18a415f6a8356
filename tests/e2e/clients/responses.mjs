// Asks for responses with openai-node (`openai-7` or `openai-6`): each case streamed through the SDK's own accumulator, and whole. Writes what came as JSON.

import { readFileSync } from "node:fs";
import { z } from "zod";

const name = process.argv[2];
const { default: OpenAI } = await import(name);
const { zodTextFormat } = await import(`${name}/helpers/zod`);
const { VERSION } = await import(`${name}/version`);

const City = z.object({ name: z.string(), people: z.number() });

const asked = JSON.parse(readFileSync(0, "utf8"));
const client = new OpenAI({ baseURL: asked.url, apiKey: asked.key, maxRetries: 0, timeout: 60_000 });

async function script(it) {
  const answer = await fetch(`${it.simulator}/__sim/script`, { method: "POST", body: JSON.stringify(it.script), headers: { "content-type": "application/json" } });
  if (!answer.ok) throw new Error(`script: ${await answer.text()}`);
}

async function run(it) {
  const result = {};
  await script(it);
  const events = [];
  const stream = client.responses.stream(it.body);
  for await (const event of stream) events.push(event.type);
  result.events = events;
  result.final = await stream.finalResponse();
  await script(it);
  result.raw = [];
  for await (const event of await client.responses.create({ ...it.body, stream: true })) result.raw.push(event);
  await script(it);
  result.whole = await client.responses.create(it.body);
  if (it.parse) {
    const body = { ...it.body, text: { format: zodTextFormat(City, "city") } };
    await script(it);
    result.parsed = (await client.responses.parse(body)).output_parsed;
    await script(it);
    result.stream_parsed = (await client.responses.stream(body).finalResponse()).output_parsed;
  }
  return result;
}

const results = { version: VERSION, cases: {} };
for (const it of asked.cases) {
  try {
    results.cases[it.name] = await run(it);
  } catch (error) {
    results.cases[it.name] = { error: `${error.name}: ${error.message}`, code: error.code ?? null };
  }
}
process.stdout.write(JSON.stringify(results));
