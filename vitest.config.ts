import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{shared,relay,web,machine,image,tools,bench}/**/*.test.ts'],
    // Two cores: more workers only make timers late.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 120_000,
    // Of 1 s, a busy machine has failed tests in which nothing was wrong.
    expect: { poll: { timeout: 20_000 } },
  },
});
