// The helpers of whichever openai is named: streams with their events, runTools, and zod's formats and tools.

import { readFileSync } from "node:fs";
import { z } from "zod";

const asked = JSON.parse(readFileSync(0, "utf8"));
const name = process.argv[2];
const { default: OpenAI } = await import(name);
const { zodFunction, zodResponseFormat } = await import(`${name}/helpers/zod`);

const client = new OpenAI({ baseURL: asked.url, apiKey: asked.key, maxRetries: 0, timeout: 60_000 });
const { completions } = client.chat;
const body = { model: asked.model, messages: [{ role: "user", content: "please" }] };
const City = z.object({ name: z.string(), people: z.number().int() });
const Weather = { name: "weather", description: "What the weather is.", parameters: z.object({ city: z.string() }) };

const told = (completion) => {
  const { message, finish_reason: finish } = completion.choices[0];
  return { text: message.content, calls: (message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]), finish };
};

const run = {
  async stream() {
    const pieces = [];
    const stream = completions.stream({ ...body, stream_options: { include_usage: true } }).on("content", (piece) => pieces.push(piece));
    const final = await stream.finalChatCompletion();
    return { ...told(final), pieces: pieces.join(""), usage: (await stream.totalUsage()).total_tokens };
  },
  async "stream calls"() {
    const done = [];
    const stream = completions.stream({ ...body, tools: [zodFunction(Weather)] }).on("tool_calls.function.arguments.done", (event) => done.push(event.parsed_arguments));
    return { ...told(await stream.finalChatCompletion()), parsed: done };
  },
  async "stream parsed"() {
    const stream = completions.stream({ ...body, response_format: zodResponseFormat(City, "city") });
    return { parsed: (await stream.finalChatCompletion()).choices[0].message.parsed };
  },
  async parse() {
    return (await completions.parse({ ...body, response_format: zodResponseFormat(City, "city") })).choices[0].message.parsed;
  },
  async "parse calls"() {
    const answer = await completions.parse({ ...body, tools: [zodFunction(Weather)] });
    return answer.choices[0].message.tool_calls.map((call) => call.function.parsed_arguments);
  },
  async "run tools"() {
    const tools = [zodFunction({ ...Weather, function: ({ city }) => `fair in ${city}` })];
    return await completions.runTools({ ...body, tools }).finalContent();
  },
  async "run tools streamed"() {
    const tools = [zodFunction({ ...Weather, function: ({ city }) => `fair in ${city}` })];
    return await completions.runTools({ ...body, stream: true, tools }).finalContent();
  },
};

async function order(answers) {
  await fetch(`${asked.simulator}/__sim/script`, { method: "DELETE" });
  for (const answer of answers) {
    const sent = await fetch(`${asked.simulator}/__sim/script`, { method: "POST", body: JSON.stringify(answer), headers: { "content-type": "application/json" } });
    if (!sent.ok) throw new Error(`script: ${await sent.text()}`);
  }
}

const results = {};
for (const it of asked.cases) {
  await order(it.answers);
  try {
    results[it.name] = await run[it.name]();
  } catch (error) {
    results[it.name] = { error: `${error.stack}` };
  }
}
process.stdout.write(JSON.stringify(results));
process.exit(0);
