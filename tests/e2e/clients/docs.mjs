// Runs the last part of the script of the page `/docs` without a browser, gives it answers as Swagger UI does, and writes what it shows.

import { readFileSync } from "node:fs";
import vm from "node:vm";

const asked = JSON.parse(readFileSync(0, "utf8"));
const script = asked.page.match(/<script>\n[^]*?(\/\/ --- Swagger UI[^]*?)<\/script>/)[1];
const results = [];

for (const { request, text, type, file } of asked.answers) {
  const shown = { hidden: true, elements: [] };
  const fetched = [];
  let options;
  const section = {
    querySelector: () => ({ replaceChildren: (...elements) => (shown.elements = elements) }),
    set hidden(is) {
      shown.hidden = is;
    },
  };
  const document = { createElement: (tag) => ({ tag, style: {} }) };
  // What stands before it on the page.
  const by = (id) => (id === "shown" ? section : null);
  const authorization = () => ({});
  const fetch = async (url, { headers }) => {
    fetched.push({ url, headers });
    return { ok: true, blob: async () => new Blob(["mp4"], { type: "video/mp4" }) };
  };
  const URL = { createObjectURL: (blob) => `blob:${blob.type}` };
  vm.runInNewContext(script, { document, by, authorization, fetch, URL, Blob, SwaggerUIBundle: (given) => (options = given) });
  if (request) options.requestInterceptor(request);
  const response = { text, data: file ? new Blob([file], { type }) : text };
  if (options.responseInterceptor(response) !== response) throw new Error("Swagger UI must get its answer back");
  await new Promise((wake) => setTimeout(wake, 50));
  results.push({ hidden: shown.hidden, fetched, elements: shown.elements.map(({ tag, src }) => ({ tag, src })) });
}
process.stdout.write(JSON.stringify(results));
