// Pictures and videos with openai-node (`openai-7` or `openai-6`): each call as the SDK makes it. Writes what came as JSON, files as base64.

import { readFileSync } from "node:fs";

const name = process.argv[2];
const { default: OpenAI, toFile } = await import(name);
const { VERSION } = await import(`${name}/version`);

const asked = JSON.parse(readFileSync(0, "utf8"));
const client = new OpenAI({ baseURL: asked.url, apiKey: asked.key, maxRetries: 0, timeout: 60_000 });
const picture = (file) => toFile(Buffer.from(asked.picture, "base64"), file, { type: "image/png" });

async function bytes(response) {
  return { status: response.status, place: response.headers.get("content-range"), file: Buffer.from(await response.arrayBuffer()).toString("base64") };
}

// The error that a call must end with.
async function refused(call) {
  try {
    await call;
  } catch (error) {
    return { name: error.constructor.name, status: error.status, code: error.code, param: error.param };
  }
  throw new Error("it was not refused");
}

async function images({ model, edits }) {
  const prompt = "a cat";
  const drawn = {
    linked: await client.images.generate({ model, prompt }),
    here: await client.images.generate({ model, prompt, response_format: "b64_json" }),
    sized: (await client.images.generate({ model, prompt, size: "1792x1024", n: 2 }).withResponse()),
    events: [],
  };
  drawn.sized = { count: drawn.sized.data.data.length, size: drawn.sized.response.headers.get("x-hive-size") };
  for await (const event of await client.images.generate({ model, prompt, stream: true, partial_images: 2 })) drawn.events.push(event);
  if (edits) {
    const edit = async (more) => client.images.edit({ model, prompt: "make it blue", image: await picture("a.png"), ...more });
    drawn.edit_linked = await edit({});
    drawn.edit_here = await edit({ response_format: "b64_json" });
    drawn.edit_of_two = await edit({ image: [await picture("a.png"), await picture("b.png")] });
    drawn.edit_events = [];
    for await (const event of await edit({ stream: true })) drawn.edit_events.push(event);
    drawn.masked = await refused(edit({ mask: await picture("m.png") }));
  }
  return drawn;
}

async function videos({ model }) {
  const made = {};
  made.created = await client.videos.create({ model, prompt: "a cat bytes:200000", seconds: "8", size: "1280x720", input_reference: await picture("cat.png") });
  const id = made.created.id;
  for (made.looks = 1; ; made.looks += 1) {
    const { data, response } = await client.videos.retrieve(id).withResponse();
    made.done = data;
    if (data.status !== "queued" && data.status !== "in_progress") break;
    await new Promise((wake) => setTimeout(wake, Number(response.headers.get("openai-poll-after-ms"))));
  }
  made.whole = await bytes(await client.videos.downloadContent(id));
  made.part = await bytes(await client.videos.downloadContent(id, {}, { headers: { Range: "bytes=100-199" } }));
  made.beyond = await refused(client.videos.downloadContent(id, {}, { headers: { Range: "bytes=200000-" } }));
  made.others = [];
  for (let more = 0; more < 2; more += 1) made.others.unshift((await client.videos.create({ model, prompt: "another" })).id);
  made.list = { desc: [], asc: [] };
  // Through the pages, by two.
  for (const order of ["desc", "asc"]) for await (const video of client.videos.list({ limit: 2, order })) made.list[order].push(video.id);
  made.deleted = await client.videos.delete(id);
  made.left = [];
  for await (const video of client.videos.list()) made.left.push(video.id);
  made.foreign = await refused(client.videos.retrieve(`${id.slice(0, -2)}AA`));
  for (const other of made.others) await client.videos.delete(other);
  return made;
}

const results = { version: VERSION, cases: {} };
for (const it of asked.cases) {
  try {
    results.cases[it.name] = await { images, videos }[it.kind](it);
  } catch (error) {
    results.cases[it.name] = { error: `${error.name}: ${error.message}\n${error.stack}` };
  }
}
process.stdout.write(JSON.stringify(results));
