import { describe, expect, test } from 'vitest';
import { PortsFilter, type ListeningPort } from './ports-report.ts';

const report = (list: string): string => `\x1b_portside;ports=${list}\x1b\\`;
const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

/** What the terminal sees, and the reports, when `text` comes in chunks of `size`. */
function filtered(text: string, size = text.length): { shown: string; reports: ListeningPort[][] } {
  const reports: ListeningPort[][] = [];
  const filter = new PortsFilter((ports) => reports.push(ports));
  let shown = '';
  const bytes = bytesOf(text);
  for (let at = 0; at < bytes.length; at += size) shown += textOf(filter.push(bytes.subarray(at, at + size)));
  return { shown: shown + textOf(filter.flush()), reports };
}

describe('reports of ports', () => {
  test('are taken out of the output wherever they stand and however it is cut', () => {
    const text = `a\x1b[3${report('80,443l')}1mred\x1b[0m${report('')}\x1b_other;x\x1b\\\x1b`;
    for (let size = 1; size <= text.length; size++) {
      const { shown, reports } = filtered(text, size);
      expect(shown).toBe('a\x1b[31mred\x1b[0m\x1b_other;x\x1b\\\x1b');
      expect(reports.at(-1)).toEqual([]);
      if (size < 20) expect(reports[0]).toEqual([{ port: 80, local: false }, { port: 443, local: true }]);
    }
  });

  test('output without an escape is handed through, not copied', () => {
    const chunk = bytesOf('plain');
    expect(new PortsFilter(() => undefined).push(chunk)).toBe(chunk);
  });

  test('a list is a hint of somebody hostile: order, doubles, nonsense, caps', () => {
    const [ports] = filtered(report('443,80l,443l,80,0,65536,99999,,l,7l')).reports;
    expect(ports).toEqual([{ port: 7, local: true }, { port: 80, local: false }, { port: 443, local: false }]);
    const many = Array.from({ length: 100 }, (_, i) => i + 1).join(',');
    expect(filtered(report(many)).reports[0]).toHaveLength(64);
    // Too long, or with other letters: no report, and left to the terminal.
    for (const bad of [report('1,'.repeat(300)), report('80;rm'), '\x1b_portside;ports=80\x1bx', '\x1b_portside;ports=80']) expect(filtered(bad, 7)).toEqual({ shown: bad, reports: [] });
    expect(filtered(`\x1b_portside;ports=8${report('81')}`).reports).toEqual([[{ port: 81, local: false }]]);
  });
});
