// Packs oncegate.tar.gz, the file that is uploaded to Cognigy.AI. Each build has the same bytes, on any machine.
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { create } from "tar";

const root = fileURLToPath(new URL("..", import.meta.url));
const staged = await mkdtemp(`${tmpdir()}/oncegate-`);

await mkdir(`${staged}/build`);
for (const file of ["build/module.js", "README.md", "icon.png"]) {
  await copyFile(root + file, `${staged}/${file}`);
}

// Without dependencies: everything is in module.js, and a site without a registry must not look for one.
const { name, version, description, license, main } = JSON.parse(await readFile(`${root}package.json`, "utf8"));
const manifest = { name, version, description, license, main };
await writeJSON("package.json", manifest);
await writeJSON("package-lock.json", {
  name,
  version,
  lockfileVersion: 2,
  requires: true,
  packages: { "": { name, version, license } },
  dependencies: {},
});

const file = `${root}oncegate.tar.gz`;
await create({ file, cwd: staged, gzip: { level: 9 }, portable: true, mtime: new Date(0) }, [
  "build/module.js",
  "package.json",
  "package-lock.json",
  "README.md",
  "icon.png",
]);
await rm(staged, { recursive: true });
console.log(`deploy/cognigy-extension/oncegate.tar.gz: ${(await stat(file)).size} bytes`);

function writeJSON(name, value) {
  return writeFile(`${staged}/${name}`, JSON.stringify(value, null, 2) + "\n");
}
