#!/usr/bin/env node
// As portside.mjs, with container2wasm's command line.
import { checkFiles } from './enough-files.mjs';

checkFiles();
const { register } = await import('tsx/esm/api');
register();
const { main } = await import('../relay/main.ts');
process.exit(await main('c2w-net'));
