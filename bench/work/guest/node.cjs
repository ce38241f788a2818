'use strict';
let seed = 42;
const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff);
class Shape { constructor(id) { this.id = id; } area() { return 0; } }
class Square extends Shape { constructor(id, side) { super(id); this.side = side; } area() { return this.side * this.side; } }
class Circle extends Shape { constructor(id, radius) { super(id); this.radius = radius; } area() { return Math.trunc(this.radius * this.radius * Math.PI); } }
const shapes = Array.from({ length: 10000 }, (_, id) => (random() % 2 ? new Square(id, random() % 100) : new Circle(id, random() % 100)));
let area = 0;
for (let turn = 0; turn < 20; turn++) for (const shape of shapes) area = (area + shape.area()) % 1000003;
const sorted = shapes.map((shape) => ({ ...shape, area: shape.area() })).sort((a, b) => a.area - b.area || a.id - b.id);
const again = JSON.parse(JSON.stringify(sorted));
const words = new Map();
for (const { area: n, id } of again) {
  const word = `w${n % 997}`;
  words.set(word, (words.get(word) ?? '') + String.fromCharCode(97 + (id % 26)));
}
let matches = 0;
for (const [word, text] of words) if (/^w\d*[13]$/.test(word)) matches += text.replace(/[aeiou]+/g, '-').length;
console.log(area, again.length, again[100].id, words.size, matches);
