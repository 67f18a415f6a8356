// Asks for messages with @anthropic-ai/sdk: each case streamed through the SDK's own accumulator, event by event, and whole. Writes what came as JSON.

import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";

const asked = JSON.parse(readFileSync(0, "utf8"));
const client = new Anthropic({ baseURL: asked.url, apiKey: asked.key, maxRetries: 0, timeout: 60_000 });

async function script(it) {
  const answer = await fetch(`${it.simulator}/__sim/script`, { method: "POST", body: JSON.stringify(it.script), headers: { "content-type": "application/json" } });
  if (!answer.ok) throw new Error(`script: ${await answer.text()}`);
}

async function run(it) {
  const result = {};
  await script(it);
  const stream = client.messages.stream(it.body);
  result.events = [];
  for await (const event of stream) result.events.push(event.type);
  result.final = await stream.finalMessage();
  await script(it);
  result.raw = [];
  for await (const event of await client.messages.create({ ...it.body, stream: true })) result.raw.push(event);
  await script(it);
  const { data, response } = await client.messages.create(it.body).withResponse();
  result.whole = data;
  result.request_id = response.headers.get("request-id");
  const { max_tokens, stop_sequences, metadata, ...counted } = it.body;
  result.counted = (await client.messages.countTokens(counted)).input_tokens;
  return result;
}

const results = { cases: {}, models: [] };
for await (const model of client.models.list({ limit: 2 })) results.models.push(model.id);
for (const it of asked.cases) {
  try {
    results.cases[it.name] = await run(it);
  } catch (error) {
    results.cases[it.name] = { error: error.constructor.name, status: error.status ?? null, body: error.error ?? String(error) };
  }
}
process.stdout.write(JSON.stringify(results));
