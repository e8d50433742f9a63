// Judge GLB files with the Khronos validator: node scripts/validate_glb.mjs FILE.glb...
// The package is looked up in $GLTF_VALIDATOR_DIR, or in the current folder: wherever `npm install gltf-validator` was run.
// One JSON line a file; exit code 1 if any has an error or a warning.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const { validateBytes } = createRequire(resolve(process.env.GLTF_VALIDATOR_DIR ?? ".", "package.json"))("gltf-validator");

let bad = false;
for (const file of process.argv.slice(2)) {
  const { issues, info } = await validateBytes(new Uint8Array(readFileSync(file)), { uri: file, maxIssues: 20 });
  const { numErrors: errors, numWarnings: warnings, messages } = issues;
  bad ||= errors + warnings > 0;
  console.log(JSON.stringify({ file, errors, warnings, messages, vertices: info.totalVertexCount }));
}
process.exitCode = bad ? 1 : 0;
