// Asks for messages with the AI SDK (@ai-sdk/anthropic): each case streamed and whole. Writes what came as JSON.

import { readFileSync } from "node:fs";
import { createAnthropic } from "@ai-sdk/anthropic";
import { generateText, jsonSchema, streamText, tool } from "ai";

const asked = JSON.parse(readFileSync(0, "utf8"));
const anthropic = createAnthropic({ baseURL: `${asked.url}/v1`, apiKey: asked.key });

async function script(it) {
  const answer = await fetch(`${it.simulator}/__sim/script`, { method: "POST", body: JSON.stringify(it.script), headers: { "content-type": "application/json" } });
  if (!answer.ok) throw new Error(`script: ${await answer.text()}`);
}

function settings(it) {
  const tools = {};
  for (const each of it.body.tools ?? []) tools[each.name] = tool({ description: "", inputSchema: jsonSchema(each.input_schema) });
  const thinking = it.body.thinking ? { thinking: { type: "enabled", budgetTokens: it.body.thinking.budget_tokens } } : {};
  return {
    model: anthropic(it.body.model),
    prompt: it.body.messages[0].content,
    maxOutputTokens: it.body.max_tokens,
    maxRetries: 0,
    providerOptions: { anthropic: thinking },
    ...(it.body.stop_sequences ? { stopSequences: it.body.stop_sequences } : {}),
    ...(Object.keys(tools).length ? { tools } : {}),
  };
}

const calls = (list) => list.map((call) => ({ name: call.toolName, input: call.input }));

async function run(it) {
  const result = {};
  await script(it);
  const stream = streamText({ ...settings(it), onError() {} });
  for await (const part of stream.fullStream) if (part.type === "error") throw part.error;
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
