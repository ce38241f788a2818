import { expect, test } from 'vitest';
import { Rooted } from './rooted.ts';

const all = (html: string, size = html.length || 1): string => {
  const rooted = new Rooted('/demo/p/');
  let out = '';
  for (let at = 0; at < html.length; at += size) out += rooted.push(html.slice(at, at + size));
  return out + rooted.finish();
};

test.each([
  ['<a href="/x?y">', '<a href="/demo/p/x?y">'], ["<A class=b HREF = '/x'>", "<A class=b HREF = '/demo/p/x'>"], ['<a href=/>', '<a href=/demo/p/>'],
  ['<form method=post\naction="/in">', '<form method=post\naction="/demo/p/in">'], ['<area href="/m"/>', '<area href="/demo/p/m"/>'],
  ['<a href="x">', null], ['<a href="//other.test/">', null], ['<a href="https://x/">', null], ['<abbr href="/x">', null], ['<img src="/x">', null],
  ['text href="/x" <b>', null], ['1 < 2', null], ['<a data-href="/x">', null], ['\xe4\xf6 <p>', null],
])('%j', (html, expected) => expect(all(html)).toBe(expected ?? html));

test('however it is cut', () => {
  const html = '<p>a <a href="/1">one</a> <a id=x href=/2>two</a> 3 < 4 <form action="/f"><input></form> < ';
  for (let size = 1; size < html.length; size++) expect([size, all(html, size)]).toEqual([size, all(html)]);
});

test('a tag without an end is not waited for for ever', () => {
  const rooted = new Rooted('/demo/p/');
  expect(rooted.push('<a '.padEnd(20_000, 'x')).length).toBe(20_000);
});
