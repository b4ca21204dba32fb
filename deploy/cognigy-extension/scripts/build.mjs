// Bundles the Extension into build/module.js: one file, so that the platform has nothing to install.
import { build } from "esbuild";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const licence = await readFile(`${root}node_modules/@cognigy/extension-tools/LICENSE`, "utf8");

await build({
  absWorkingDir: root,
  entryPoints: ["src/module.ts"],
  outfile: "build/module.js",
  bundle: true,
  platform: "node",
  format: "cjs",
  target: "es2019",
  charset: "utf8",
  preserveSymlinks: true, // module.js names the files that it is made of: by their place here, wherever here is
  logLevel: "warning",
  banner: {
    js: `/*
Oncegate's Extension for Cognigy.AI. Licensed under the Apache License, Version 2.0.
It contains parts of @cognigy/extension-tools 0.14.0, under this licence:

${licence.trim()}
*/`,
  },
});
