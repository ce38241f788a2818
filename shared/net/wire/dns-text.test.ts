import { describe, expect, test } from 'vitest';
import { dnsAnswers, dnsStatusName, dnsTypeName } from './dns-text.ts';

const bytes = (text: string): number[] => Array.from(text, (c) => c.charCodeAt(0));
const QUESTION = [1, 97, 3, ...bytes('org'), 0, 0, 1, 0, 1];
const END = 12 + QUESTION.length;
/** the name of the question, by a pointer */
const OWNER = [0xc0, 12];

function record(type: number, data: number[]): number[] {
  return [...OWNER, type >> 8, type & 255, 0, 1, 0, 0, 0, 60, 0, data.length, ...data];
}

function message(rcode: number, ...records: number[][]): Uint8Array {
  return Uint8Array.of(0, 7, 0x81, 0x80 | rcode, 0, 1, 0, records.length, 0, 0, 0, 0, ...QUESTION, ...records.flat());
}

const MIXED = message(0,
  record(5, [1, 98, 0xc0, 14]), record(1, [1, 2, 3, 4]), record(28, [0x20, 1, ...Array<number>(13).fill(0), 1]),
  record(15, [0, 10, 2, ...bytes('mx'), 0]), record(16, [3, ...bytes('txt')]), record(999, []), record(33, [0, 0, 0, 0, 0, 80, 0]));

describe('DNS for people', () => {
  test('addresses and names, other types by their own name', () => {
    expect(dnsAnswers(MIXED, END, 20)).toEqual(['CNAME b.org', '1.2.3.4', '2001::1', 'mx', 'TXT', 'TYPE999', '.']);
    expect(dnsAnswers(MIXED, END, 2)).toEqual(['CNAME b.org', '1.2.3.4']);
    expect([dnsTypeName(65), dnsTypeName(4711), dnsStatusName(message(3)), dnsStatusName(message(9))]).toEqual(['HTTPS', 'TYPE4711', 'NXDOMAIN', 'RCODE9']);
  });

  test('nonsense: loops, names that are too long or end early, records of a wrong length, every truncation', () => {
    expect(dnsAnswers(message(0, record(5, [0xc0, END + 12]), record(5, [64]), record(5, [5, 97]), record(5, []), record(1, [1, 2])), END, 20)).toEqual(['CNAME', 'CNAME', 'CNAME', 'CNAME', 'A']);
    const long = Array.from({ length: 9 }, () => [30, ...bytes('x'.repeat(30))]).flat();
    expect(dnsAnswers(message(0, record(2, [...long, 0])), END, 20)).toEqual(['NS']);
    for (let end = 12; end < MIXED.length; end++) expect(dnsAnswers(MIXED.subarray(0, end), END, 20).length).toBeLessThan(7);
  });
});
