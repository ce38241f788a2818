import { expect, test } from 'vitest';
import { Log, type LogOptions } from './log.ts';

function logged(options: LogOptions, use: (log: Log) => void): string[] {
  const lines: string[] = [];
  use(new Log((line) => lines.push(line), options));
  return lines;
}

const everything = (log: Log): void => {
  log.info('up', { port: 80 });
  log.debug('closer look', { session: 'abc' });
  log.once('origin', 'https://a.example', 'refused a page');
  log.once('origin', 'https://a.example', 'refused a page');
  log.bug('broken', new RangeError('no'));
};

test('text: the sentence, without what peers could do to a terminal', () => {
  const lines = logged({}, everything);
  expect(lines.slice(0, 2)).toEqual(['portside: up', 'portside: refused a page']);
  expect([lines.length, lines[2]]).toEqual([3, expect.stringMatching(/^portside: bug: broken\nRangeError: no\n +at /)]);
  expect(logged({}, (log) => log.info(`\u001b[2J${'x'.repeat(1000)}`))).toEqual([`portside: ?[2J${'x'.repeat(496)}`]);
});

test('json: one object per line with level, time, sentence and fields', () => {
  const records = logged({ format: 'json', verbose: true }, everything).map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(records).toMatchObject([
    { level: 'info', msg: 'up', port: 80 }, { level: 'debug', msg: 'closer look', session: 'abc' },
    { level: 'info', msg: 'refused a page', topic: 'origin', subject: 'https://a.example' }, { level: 'debug', msg: 'refused a page' },
    { level: 'error', msg: 'broken', err: { type: 'RangeError', message: 'no', stack: expect.stringContaining('at ') } },
  ]);
  expect(records.every(({ time }) => Math.abs(Date.parse(time as string) - Date.now()) < 60_000)).toBe(true);
  expect(logged({ format: 'json' }, everything).length).toBe(3);
  const [line] = logged({ format: 'json' }, (log) => log.info('a\nb', { host: 'x\u001b'.repeat(400) }));
  expect(JSON.parse(line)).toMatchObject({ msg: 'a?b', host: 'x?'.repeat(250) });
  expect(JSON.parse(logged({ format: 'json' }, (log) => log.bug('odd', 'a string'))[0])).toMatchObject({ err: { message: 'a string' } });
});

test.each(['text', 'json'] as const)('%s: a flood of different subjects is cut', (format) => {
  const lines = logged({ format, maxOnce: 3 }, (log) => { for (let i = 0; i < 50; i++) log.once('host', `h${i}`, `refused h${i}`); });
  expect([lines.length, lines.at(-1)]).toEqual([4, expect.stringContaining('too many different refusals')]);
});
