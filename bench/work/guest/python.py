import sys


def generators(_):
    def numbers(n):
        for i in range(n):
            yield i * i
    total = sum(x % 7 for x in numbers(400_000) if x & 1)
    chain = (a ^ b for a, b in zip(numbers(120_000), (y + 1 for y in numbers(120_000))))
    return total, max(chain)


def text(path):
    counts, hosts = {}, {}
    with open(path, encoding='utf-8') as lines:
        for line in lines:
            words = line.rstrip().split(' ')
            hosts.setdefault(words[1], []).append(words[0][11:])
            for word in words[4:]:
                counts[word] = counts.get(word, 0) + 1
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:50]
    return len(counts), ','.join(f'{word.upper()}:{n:>5}' for word, n in top), {host: '-'.join(times[:3]).replace(':', '') for host, times in sorted(hosts.items())}


def json(_):
    import json
    data = [{'id': i, 'name': f'name {i}', 'tags': ['a', 'b', str(i)], 'at': {'x': i / 7, 'y': None, 'ok': i % 2 == 0}} for i in range(2000)]
    packed = ''
    for _ in range(3):
        packed = json.dumps(data, indent=1)
        data = json.loads(packed)
    # Sorted and one at a time, its scanner in C has little to do.
    return len(packed), sum(len(json.dumps(one, sort_keys=True)) for one in data)


class Account:
    def __init__(self, owner, balance):
        self.owner, self.balance, self.log = owner, balance, []

    @property
    def is_rich(self):
        return self.balance > 5000

    def pay(self, other, amount):
        if amount > self.balance:
            raise ValueError(f'{self.owner} has not {amount}')
        self.balance -= amount
        other.balance += amount
        self.log.append(amount)


class Saver(Account):
    def pay(self, other, amount):
        super().pay(other, amount // 2)


def objects(_):
    people = [(Saver if i % 3 == 0 else Account)(f'p{i}', 1000 * (i % 13)) for i in range(200)]
    refused = rich = seed = 0
    for _ in range(100_000):
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        one, other = people[seed % 200], people[(seed >> 8) % 200]
        try:
            one.pay(other, (seed >> 16) % 900)
        except ValueError:
            refused += 1
        rich += other.is_rich
    return refused, rich, sum(len(one.log) for one in people)


def nbody():
    bodies = [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 39.5], [4.84, -1.16, -0.10, 0.6, 2.8, -0.02, 0.037], [8.34, 4.12, -0.4, -1.01, 1.81, 0.008, 0.011], [12.89, -15.11, -0.22, 1.08, 0.86, -0.01, 0.0017], [15.37, -25.9, 0.17, 0.97, 0.59, -0.03, 0.002]]
    pairs = [(a, b) for i, a in enumerate(bodies) for b in bodies[i + 1:]]
    for _ in range(5000):
        for a, b in pairs:
            x, y, z = a[0] - b[0], a[1] - b[1], a[2] - b[2]
            pull = 0.001 / (x * x + y * y + z * z) ** 1.5
            for k, d in ((3, x), (4, y), (5, z)):
                a[k] -= d * b[6] * pull
                b[k] += d * a[6] * pull
        for body in bodies:
            for k in range(3):
                body[k] += 0.001 * body[k + 3]
    return bodies


def matrix():
    n = 90
    a = [[(i * j % 17) / 3.0 for j in range(n)] for i in range(n)]
    b = [[(i + j) % 13 - 6.5 for j in range(n)] for i in range(n)]
    for _ in range(3):
        columns = list(zip(*b))
        b = [[sum(x * y for x, y in zip(row, column)) / n for column in columns] for row in a]
    return sum(map(sum, b)), b[7][11]


def fft():
    from cmath import exp, pi

    def transform(x):
        n = len(x)
        if n == 1:
            return x
        even, odd = transform(x[::2]), transform(x[1::2])
        turned = [exp(-2j * pi * k / n) * odd[k] for k in range(n // 2)]
        return [even[k] + turned[k] for k in range(n // 2)] + [even[k] - turned[k] for k in range(n // 2)]
    result = transform([complex(i % 31, i % 7) for i in range(16384)])
    return result[5], sum(abs(x) for x in result)


print(repr(globals()[sys.argv[1]](*sys.argv[2:])))
