/* A C program of many small functions whose results any correct compiler and machine agrees on: no undefined behaviour, no libm beyond what IEEE 754 rounds exactly. */
import { Chance } from '../fuzz/chance.ts';

/** Some 45 lines a function. The program prints one checksum for each. */
export function generateC(seed: number, functions: number): string {
  const chance = new Chance(seed);
  const below = (limit: number): number => chance.below(limit);
  const pick = <T>(list: readonly T[]): T => chance.pick(list);
  const names = ['a', 'b', 'c', 'd'];
  const integer = (): string => {
    const [x, y] = [pick(names), pick(names)];
    return pick([
      `${x} + ${y} * ${below(1000) * 2 + 1}u`, `${x} ^ (${y} >> ${1 + below(62)})`, `(${x} << ${1 + below(62)}) | (${y} >> ${1 + below(62)})`, `${x} % (${y} | 1u)`, `${x} / (${y} % 9973u + 1u)`,
      `(uint64_t)((int64_t)${x} >> ${1 + below(62)})`, `(uint32_t)${x} * (uint64_t)(uint32_t)${y}`, `(uint64_t)(int32_t)${x} + (uint16_t)${y}`, `(uint64_t)(((unsigned __int128)${x} * ${y}) >> 64)`,
      `(uint64_t)__builtin_popcountll(${x}) - ${y}`, `(${x} > ${y} ? ${x} : ~${y})`, `((int64_t)${x} < (int64_t)${y}) + ${y}`, `(uint64_t)__builtin_bswap64(${x}) ^ ${y}`, `(uint64_t)__builtin_clzll(${x} | 1u) * ${y}`,
    ]);
  };
  const real = (): string => {
    const [x, y] = [pick(['x', 'y', 'z']), pick(['x', 'y', 'z'])];
    return pick([`${x} + ${y} * 0.${1 + below(999)}`, `${x} - ${y} / 3.0`, `sqrt(fabs(${x}) + 1.0)`, `${x} * (1.0 / (fabs(${y}) + 1.0))`, `(double)(float)${x} + ${y} * 1e-3`, `floor(${x}) + ${y} * 0.5`, `fma(${x}, 0.25, ${y})`, `(double)(uint32_t)(${x} - 2147483648.0 * floor(${x} / 2147483648.0)) + ${y}`, `(${x} < ${y} ? ${x} : ${y} * 0.5)`]);
  };
  const lines = ['#include <math.h>', '#include <stdint.h>', '#include <stdio.h>', '#include <string.h>', 'static uint64_t table[256];', 'static uint64_t bits(double x) { uint64_t u; if (x != x) return 1; memcpy(&u, &x, 8); return u; }'];
  for (let f = 0; f < functions; f++) {
    lines.push(`static uint64_t f${f}(uint64_t a, uint64_t b) {`, '  uint64_t c = a ^ 0x9e3779b97f4a7c15u, d = b + 1;', '  double x = (double)(a >> 11), y = (double)(int64_t)b, z = 0.5;', `  for (int i = 0; i < ${20 + below(200)}; i++) {`);
    for (let i = 0; i < 20; i++) lines.push(`    ${pick(names)} = ${integer()};`);
    for (let i = 0; i < 8; i++) lines.push(`    ${pick(['x', 'y', 'z'])} = ${real()};`);
    lines.push(
      '    if (!(fabs(x) < 1e15)) x = (double)(uint32_t)c;', '    if (!(fabs(y) < 1e15)) y = (double)(uint32_t)d;', '    if (!(fabs(z) < 1e15)) z = 0.125;',
      `    switch (c % 5) { case 0: a += ${below(100)}; break; case 1: b ^= d; break; case 2: c = table[a % 256]; break; case 3: table[b % 256] += c ^ bits(x); break; default: d -= a; }`,
      f === 0 ? '    a += i;' : `    if (i == 7) d ^= f${below(f)}(c & 0xff, d & 0xff);`,
      '  }', '  return a ^ b * 3 ^ c * 5 ^ d * 7 ^ bits(x) ^ bits(y) * 11 ^ bits(z) * 13;', '}',
    );
  }
  lines.push('int main(void) {', '  for (int i = 0; i < 256; i++) table[i] = (uint64_t)i * 0x2545f4914f6cdd1du;');
  for (let f = 0; f < functions; f++) lines.push(`  printf("f${f} %016llx\\n", (unsigned long long)f${f}(${below(1 << 30)}u, ${below(1 << 30)}u));`);
  lines.push('  return 0;', '}', '');
  return lines.join('\n');
}
