// Sequences side by side: what they share stands in one column, a step earlier or later as it may be.

const INSERT = -0.3; // a column more, against the share of sequences that agree in one
const SKIP = -0.06; // a column that a sequence leaves empty

// Returns columns, each with the item of every sequence or null; a sequence read over the columns
// is the sequence.
export function align(sequences) {
  const [centre, ...others] = byLikeness(sequences);
  let columns = sequences[centre].map((item) => put(empty(sequences.length), centre, item));
  for (const k of others) columns = add(columns, sequences[k], k, sequences.length);
  return columns;
}

// The most frequent item of a column, and how many sequences have it there.
export function agreed(column) {
  const counts = new Map();
  for (const item of column) if (item !== null) counts.set(item, (counts.get(item) || 0) + 1);
  return [...counts].reduce((best, one) => (one[1] > best[1] ? one : best));
}

const empty = (count) => Array(count).fill(null);

function put(column, k, item) {
  column[k] = item;
  return column;
}

// The sequence that is most like all others comes first, then those most like it.
function byLikeness(sequences) {
  const like = sequences.map((one) => sequences.map((other) => shared(one, other)));
  const total = like.map((row) => row.reduce((sum, value) => sum + value, 0));
  const centre = total.indexOf(Math.max(...total));
  const others = sequences.map((_, k) => k).filter((k) => k !== centre);
  return [centre, ...others.sort((a, b) => like[centre][b] - like[centre][a] || a - b)];
}

// Length of the longest common subsequence.
function shared(one, other) {
  let row = Array(other.length + 1).fill(0);
  for (const item of one) {
    const next = [0];
    other.forEach((known, k) =>
      next.push(known === item ? row[k] + 1 : Math.max(row[k + 1], next[k])));
    row = next;
  }
  return row.at(-1);
}

// Needleman-Wunsch of a sequence with the columns there are.
function add(columns, sequence, k, count) {
  const [n, m] = [columns.length, sequence.length];
  const best = Array.from({ length: n + 1 }, (_, i) =>
    Array.from({ length: m + 1 }, (__, j) => (i && j ? 0 : SKIP * i + INSERT * j)));
  const pair = (i, j) => columns[i - 1].filter((item) => item === sequence[j - 1]).length / count;
  for (let i = 1; i <= n; i += 1) {
    for (let j = 1; j <= m; j += 1) {
      best[i][j] = Math.max(best[i - 1][j - 1] + pair(i, j), best[i - 1][j] + SKIP,
        best[i][j - 1] + INSERT);
    }
  }
  const made = [];
  for (let [i, j] = [n, m]; i || j;) {
    if (i && j && best[i][j] === best[i - 1][j - 1] + pair(i, j)) {
      made.push(put(columns[i - 1], k, sequence[j - 1]));
      i -= 1;
      j -= 1;
    } else if (i && (!j || best[i][j] === best[i - 1][j] + SKIP)) {
      made.push(columns[i - 1]);
      i -= 1;
    } else {
      made.push(put(empty(count), k, sequence[j - 1]));
      j -= 1;
    }
  }
  return made.reverse();
}
