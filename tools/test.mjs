#!/usr/bin/env node
/*
 * `npm test`: installs and builds what is missing, then typecheck, lint, unit and integration tests, end-to-end tests in
 * Debian's Chromium. Ends with `N passed, N failed`. `npm test -- unit` (or typecheck, lint, e2e) runs one part.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureInstalled } from './start.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const REPORTS = join(ROOT, '.cache/reports');
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

let passed = 0;
let failed = 0;

/** Runs a command of this project; resolves with its status, whatever it is. */
function run(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } });
    child.on('error', (error) => { console.error(String(error)); resolve(1); });
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

function count(name, ok, bad) {
  passed += ok;
  failed += bad;
  console.log(`== ${name}: ${ok} passed, ${bad} failed`);
}

async function check(name, command, args) {
  const status = await run(command, args);
  count(name, status === 0 ? 1 : 0, status === 0 ? 0 : 1);
}

function readReport(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;
}

const bin = (name) => join(ROOT, 'node_modules/.bin', name);

const parts = {
  typecheck: () => check('typecheck', bin('tsc'), ['-b']),
  lint: () => check('lint', bin('oxlint'), ['--deny-warnings']),
  async unit() {
    const file = join(REPORTS, 'vitest.json');
    const status = await run(bin('vitest'), ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`], { PORTSIDE_TEST_GUEST: join(ROOT, '.cache/guest/busybox') });
    const report = readReport(file);
    if (report === null) return count('unit', 0, 1);
    // A file that could not be loaded holds no tests, yet is a failure.
    const broken = report.testResults.filter((suite) => suite.status === 'failed' && suite.assertionResults.length === 0).length;
    const bad = report.numFailedTests + broken;
    count('unit', report.numPassedTests, bad > 0 ? bad : Number(status !== 0));
  },
  async e2e() {
    if (!existsSync(CHROMIUM)) {
      console.error(`e2e: no Chromium at ${CHROMIUM}: apt-get install chromium, or name one in CHROMIUM`);
      return count('e2e', 0, 1);
    }
    const file = join(REPORTS, 'playwright.json');
    const status = await run(bin('playwright'), ['test', '--reporter=list,json'], { PLAYWRIGHT_JSON_OUTPUT_NAME: file });
    const report = readReport(file);
    if (report === null) return count('e2e', 0, 1);
    const { expected, unexpected, flaky } = report.stats;
    const bad = unexpected + report.errors.length;
    count('e2e', expected + flaky, bad > 0 ? bad : Number(status !== 0));
  },
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in parts));
if (unknown.length > 0) {
  console.error(`npm test: no part called ${unknown.join(', ')}; there are ${Object.keys(parts).join(', ')}`);
  process.exit(2);
}

await ensureInstalled();
rmSync(REPORTS, { recursive: true, force: true });
mkdirSync(REPORTS, { recursive: true });
if (wanted.length === 0 || wanted.includes('unit') || wanted.includes('e2e')) {
  const status = await run(process.execPath, ['--import', 'tsx', 'tools/build.ts']);
  count('build', status === 0 ? 1 : 0, status === 0 ? 0 : 1);
}
for (const [name, part] of Object.entries(parts)) {
  if (wanted.length === 0 || wanted.includes(name)) await part();
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
