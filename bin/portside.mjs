#!/usr/bin/env node
// Plain JavaScript: teaches Node our TypeScript (tsx), then hands over to relay/main.ts.
import { checkFiles } from './enough-files.mjs';

checkFiles();
const { register } = await import('tsx/esm/api');
register();
const { main } = await import('../relay/main.ts');
process.exit(await main());
