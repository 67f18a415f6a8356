// Asks for responses with the AI SDK (@ai-sdk/openai, whose models speak Responses): each case streamed and whole. Writes what came as JSON.

import { readFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, streamText, tool } from "ai";

const asked = JSON.parse(readFileSync(0, "utf8"));
const openai = createOpenAI({ baseURL: asked.url, apiKey: asked.key });

async function script(it) {
  const answer = await fetch(`${it.simulator}/__sim/script`, { method: "POST", body: JSON.stringify(it.script), headers: { "content-type": "application/json" } });
  if (!answer.ok) throw new Error(`script: ${await answer.text()}`);
}

function settings(it) {
  const tools = {};
  for (const each of it.body.tools ?? []) tools[each.name] = tool({ description: "", inputSchema: jsonSchema(each.parameters ?? { type: "object", properties: {} }) });
  return {
    model: openai.responses(it.body.model),
    prompt: it.body.input,
    maxRetries: 0,
    providerOptions: { openai: { store: false, reasoningSummary: "auto" } },
    ...(Object.keys(tools).length ? { tools } : {}),
  };
}

const calls = (list) => list.map((call) => ({ name: call.toolName, input: call.input }));

async function run(it) {
  const result = {};
  await script(it);
  const stream = streamText({ ...settings(it), onError() {} });
  const kinds = [];
  for await (const part of stream.fullStream) {
    if (part.type === "error") throw part.error;
    kinds.push(part.type);
  }
  result.kinds = kinds;
  result.streamed = { text: await stream.text, reasoning: (await stream.reasoningText) ?? "", calls: calls(await stream.toolCalls), finish: await stream.finishReason };
  await script(it);
  const whole = await generateText(settings(it));
  result.whole = { text: whole.text, reasoning: whole.reasoningText ?? "", calls: calls(whole.toolCalls), finish: whole.finishReason };
  return result;
}

const results = { cases: {} };
for (const it of asked.cases) {
  try {
    results.cases[it.name] = await run(it);
  } catch (error) {
    results.cases[it.name] = { error: `${error.name}: ${error.message}` };
  }
}
process.stdout.write(JSON.stringify(results));
