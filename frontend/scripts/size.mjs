// Says how much script the first page loads, gzipped, and fails above the limit.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const LIMIT_KB = 250;
const LANDING = ['index.html', 'src/features/demo/LandingPage.tsx'];
const manifest = JSON.parse(readFileSync('dist/.vite/manifest.json', 'utf8'));

function closure(names) {
  const seen = new Set();
  const visit = (name) => {
    if (seen.has(name)) return;
    if (!manifest[name]) throw new Error(`${name} is not in the build's manifest.`);
    seen.add(name);
    (manifest[name].imports ?? []).forEach(visit);
  };
  names.forEach(visit);
  return [...seen].map((name) => manifest[name].file).filter((file) => file.endsWith('.js'));
}

const kilobytes = (files) =>
  [...new Set(files)].reduce((sum, file) => sum + gzipSync(readFileSync(`dist/${file}`)).length, 0) / 1000;
const first = kilobytes(closure(LANDING));
const all = kilobytes(
  Object.values(manifest)
    .map((entry) => entry.file)
    .filter((file) => file.endsWith('.js')),
);
console.log(
  `script, gzipped: ${first.toFixed(1)} kB for the first page (at most ${LIMIT_KB}), ${all.toFixed(1)} kB in all`,
);
if (first > LIMIT_KB) process.exit(1);
