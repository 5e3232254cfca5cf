// Runs after vite: writes .br and .gz beside every text file and holds the size limits of the
// first load (270 KiB gzip) and of every page (40 KiB gzip).
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const root = new URL("../dist/app/", import.meta.url).pathname;
const firstLimit = 270;
const pageLimit = 40;

function walk(dir) {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? walk(path) : [path];
  });
}

const sizes = new Map();
for (const path of walk(root)) {
  if (!/\.(js|css|svg|json|md|txt)$/.test(path)) continue;
  const bytes = readFileSync(path);
  const gz = gzipSync(bytes, { level: 9 });
  sizes.set(relative(root, path), gz.length);
  if (bytes.length < 600) continue;
  writeFileSync(`${path}.gz`, gz);
  writeFileSync(
    `${path}.br`,
    brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
  );
}

const html = readFileSync(join(root, "index.html"), "utf8");
const first = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map((m) => m[1]);
const kib = (n) => (n / 1024).toFixed(1);
const total = first.reduce((sum, name) => sum + (sizes.get(name) ?? 0), gzipSync(html).length);
let bad = total > firstLimit * 1024;
console.log(`first load ${kib(total)} KiB gzip of at most ${firstLimit}`);
for (const [name, size] of [...sizes].sort((a, b) => b[1] - a[1])) {
  if (!/^assets\/.*\.(js|css)$/.test(name)) continue;
  const lazy = !first.includes(name);
  const over = lazy && size > pageLimit * 1024;
  bad ||= over;
  console.log(`  ${kib(size).padStart(6)} ${lazy ? "page " : "first"} ${name}${over ? `  over ${pageLimit} KiB` : ""}`);
}
if (bad) {
  console.error("the bundle is over its limit");
  process.exit(1);
}
