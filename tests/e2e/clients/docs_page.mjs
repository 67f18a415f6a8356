// The docs page in a real browser, as a person uses it. Asked with the page's url, the key, a model, and a video's id; writes what was seen as JSON.

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const asked = JSON.parse(readFileSync(0, "utf8"));
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
const browser = await chromium.launch({ executablePath: asked.browser, args: flags, timeout: 60_000 });
const seen = { errors: [] };
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  page.setDefaultTimeout(60_000);
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  page.on("pageerror", (error) => seen.errors.push(`${error}`));
  page.on("requestfailed", (request) => seen.errors.push(`${request.url()} ${request.failure()?.errorText}`));
  const elsewhere = [];
  page.on("request", (request) => !request.url().startsWith(new URL(asked.url).origin) && !/^(data|blob):/.test(request.url()) && elsewhere.push(request.url()));
  await page.goto(asked.url);
  await page.locator(".opblock").first().waitFor();
  seen.operations = await page.locator(".opblock").count();

  // The key brings the models, and a chosen one goes into the lines for the programs.
  await page.locator("#key").fill(asked.key);
  await page.locator("#key").blur();
  await page.waitForFunction(() => document.querySelectorAll("#models option").length > 0);
  seen.models = await page.locator("#models option").evaluateAll((options) => options.map((option) => option.value));
  await page.locator("#model").fill(asked.model);
  seen.programs = Object.fromEntries(await page.locator("#programs details").evaluateAll((all) => all.map((one) => [one.querySelector("summary").textContent, one.querySelector("pre").textContent])));
  const codex = page.locator("#programs details", { has: page.getByText("Codex", { exact: true }) });
  const before = await codex.locator("pre").isVisible();
  await codex.locator("summary").click();
  seen.unfolds = !before && (await codex.locator("pre").isVisible());

  // A chat: how the text grew, and how it ended.
  const chat = async (question) => {
    await page.locator("#question").fill(question);
    await page.evaluate(() => {
      window.grown = [];
      const text = document.getElementById("text");
      window.watching?.disconnect();
      window.watching = new MutationObserver(() => window.grown.push(text.textContent));
      window.watching.observe(text, { childList: true, characterData: true, subtree: true });
    });
    await page.locator("#send").click();
    await page.waitForFunction(() => document.getElementById("status").textContent !== "");
    return { text: await page.locator("#text").textContent(), thoughts: await page.locator("#thoughts").textContent(), status: await page.locator("#status").textContent(), grown: await page.evaluate(() => window.grown) };
  };
  seen.chat = await chat("pace:20 think:let me see count:30");
  await page.locator("#model").fill("no-such-model");
  seen.errors_before_refusal = seen.errors.splice(0);
  seen.refused = await chat("hello");
  // The browser itself logs each answer that is no success.
  seen.errors = seen.errors.filter((error) => !error.includes("404"));
  await page.locator("#model").fill(asked.model);

  // Swagger UI: the key once, then an operation each, as a person clicks it.
  await page.locator(".btn.authorize").first().click();
  await page.locator(".auth-container input").fill(asked.key);
  await page.locator(".auth-container .btn.authorize").click();
  await page.locator(".btn-done").click();
  const execute = async (path, method, fill) => {
    const operation = page.locator(`.opblock-${method}`, { has: page.locator(`.opblock-summary-path[data-path="${path}"]`) });
    await operation.locator(".opblock-summary-control").click();
    await operation.locator(".try-out__btn").click();
    await fill(operation);
    await operation.locator(".btn.execute").click();
    return operation;
  };
  await execute("/v1/images/generations", "post", (operation) => operation.locator("textarea.body-param__text").fill(JSON.stringify({ model: asked.draws, prompt: "a cat", response_format: "b64_json" })));
  await page.waitForFunction(() => document.querySelector("#shown img")?.naturalWidth > 0);
  seen.picture = await page.locator("#shown img").evaluate((image) => [image.naturalWidth, image.naturalHeight]);
  seen.shown = await page.locator("#shown").isVisible();
  await execute("/v1/videos/{id}/content", "get", (operation) => operation.locator(".parameters input").first().fill(asked.video));
  await page.locator("#shown video").waitFor({ state: "attached" });
  seen.video = await page.evaluate(async () => {
    const bytes = await (await fetch(document.querySelector("#shown video").src)).arrayBuffer();
    return new TextDecoder("latin1").decode(bytes.slice(4, 8));
  });
  seen.elsewhere = elsewhere;
  if (asked.picture) {
    await page.evaluate(() => window.scrollTo(0, 0));
    await page.screenshot({ path: asked.picture });
  }
} catch (error) {
  seen.failed = `${error.stack}`;
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(seen));
