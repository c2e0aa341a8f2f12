// Run axe-core over pages, narrow and wide, light and dark; one line of JSON for each rule broken.
// Called by check_site.py: node axe.cjs BROWSER SITE PAGE...
const fs = require("fs");
const path = require("path");
const puppeteer = require("puppeteer-core");

const [browserPath, site, ...pages] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

(async () => {
  const browser = await puppeteer.launch({
    executablePath: browserPath,
    args: ["--no-sandbox", "--allow-file-access-from-files", "--disable-gpu"],
  });
  for (const name of pages) {
    for (const width of [400, 1400]) {
      for (const scheme of ["light", "dark"]) {
        const page = await browser.newPage();
        await page.setViewport({ width, height: 900 });
        await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
        // Scripts and fonts from elsewhere do not matter here, and may not be reachable.
        await page.setRequestInterception(true);
        page.on("request", (request) =>
          request.url().startsWith("file:") || request.url().startsWith("data:")
            ? request.continue()
            : request.abort(),
        );
        await page.goto("file://" + path.resolve(site, name), { waitUntil: "load" });
        await page.evaluate(axe);
        const found = await page.evaluate(() => window.axe.run());
        for (const rule of found.violations) {
          const first = rule.nodes[0].html.slice(0, 160);
          const line = { page: name, width, scheme, rule: rule.id, count: rule.nodes.length, first };
          console.log(JSON.stringify(line));
        }
        await page.close();
      }
    }
  }
  await browser.close();
})().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
